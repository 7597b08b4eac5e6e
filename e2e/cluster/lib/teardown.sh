# shellcheck shell=bash
# Takes the cluster away, in whatever state it is, and tells what of it is still there.

# From what keeps things running to what is kept running, so that nothing is started anew meanwhile.
COMPONENTS=(provisioner doorway doorway-inside kubelet kube-proxy scheduler controller-manager containerd apiserver etcd)

# Folders with fixed names that the kubelet and containerd write to. Those that were not there before are
# noted when the cluster is made, and removed with it if nobody else has put something into them.
FIXED_FOLDERS=(/var/lib/kubelet /var/lib/cni /var/log/containers /var/log/pods /run/containerd /opt/cni /etc/cni /usr/libexec/kubernetes)

note_fixed_folders() {
  local folder
  for folder in "${FIXED_FOLDERS[@]}"; do [[ -e $folder ]] || echo "$folder"; done >"$STATE/made-folders"
}

cgroup_mounts() { awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts; }
our_mounts() { awk -v state="$STATE/" 'index($2, state) == 1 {print $2}' /proc/mounts | sort -r; }
our_shims() { pgrep --full "^[^ ]*containerd-shim.* -address $STATE/containerd.sock" || true; }
our_container_processes() {
  local mount
  for mount in $(cgroup_mounts); do
    find "$mount/$CGROUP" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done | sort -un
}

tear_down() {
  [[ ! -d $STATE/run ]] || kill_components
  kill_until_gone our_shims our_container_processes
  remove_traces_elsewhere
  unmount_all
  [[ ! -e /run/netns/$NETNS ]] || ip netns del "$NETNS"
  remove_cgroups
  rm -rf "$STATE"
}

# Everything is thrown away, so nothing need end politely.
kill_components() {
  local name pids
  for name in "${COMPONENTS[@]}"; do
    mapfile -t pids < <(members "$name")
    ((${#pids[@]} == 0)) || kill -s KILL "${pids[@]}" 2>/dev/null || true
  done
  stop "${COMPONENTS[@]}"
}

# kill_until_gone FUNCTION...: kills what the functions list until they list nothing.
kill_until_gone() {
  local pids deadline=$((SECONDS + 15)) list
  while true; do
    mapfile -t pids < <(for list in "$@"; do "$list"; done)
    ((${#pids[@]})) || return 0
    ((SECONDS < deadline)) || die "these processes of the cluster do not end: ${pids[*]}"
    kill -s KILL "${pids[@]}" 2>/dev/null || true
    sleep 0.05
  done
}

unmount_all() {
  local mount round
  for round in 1 2 3; do # a folder may be mounted over more than once
    for mount in $(our_mounts); do umount "$mount" 2>/dev/null || ((round < 3)) || umount --lazy "$mount" || true; done
    [[ -n $(our_mounts) ]] || return 0
  done
  # Never go on to remove files: a mounted folder may be the user's.
  die "these mounts cannot be undone: $(our_mounts | tr '\n' ' ')" "unmount them (umount --lazy PATH) and run e2e/cluster/down again"
}

remove_cgroups() {
  local mount deadline=$((SECONDS + 10))
  for mount in $(cgroup_mounts); do
    # A group is busy for a moment after its last process has ended.
    while [[ -d $mount/$CGROUP ]] && ((SECONDS < deadline)); do
      find "$mount/$CGROUP" -depth -type d -exec rmdir {} \; 2>/dev/null || sleep 0.05
    done
  done
}

# Sockets of shims, results of CNI calls, links to logs, and folders that are there only because of us.
remove_traces_elsewhere() {
  local file folder pod
  for file in /var/lib/cni/results/"$NETNS"-*-eth0; do # named after the network and the pod's sandbox
    pod=${file##*/"$NETNS"-}
    rm -f "$file" "/var/lib/cni/results/cni-loopback-${pod%-eth0}-lo"
  done
  while read -r file; do
    file=$(<"$file")
    rm -f "${file#unix://}"
  done < <(find "$STATE/containerd/state" -path '*/io.containerd.runtime.v2.task/*' -name address 2>/dev/null)
  rm -f /var/lib/kubelet/device-plugins/kubelet{.sock,_internal_checkpoint}
  find /var/log/containers -maxdepth 1 -lname "$STATE/*" -delete 2>/dev/null || true
  [[ -e $STATE/made-folders ]] || return 0
  while read -r folder; do
    [[ ! -d $folder ]] || find "$folder" -depth -type d -empty -delete
  done <"$STATE/made-folders"
}

# Prints a line for each thing of the cluster that is still there.
leftovers() {
  local mount
  pgrep --full --list-full "$STATE/" | sed 's/^/process: /' | cut -c1-150 || true
  our_container_processes | sed 's/^/process in a container: /'
  our_mounts | sed 's/^/mount: /'
  [[ ! -e /run/netns/$NETNS ]] || echo "network namespace: $NETNS"
  for mount in $(cgroup_mounts); do
    [[ ! -d $mount/$CGROUP ]] || echo "cgroup: $mount/$CGROUP"
  done
  [[ ! -e $STATE ]] || echo "folder: $STATE"
  find /var/log/containers /var/lib/cni/results -lname "$STATE/*" -o -name "$NETNS-*" 2>/dev/null | sed 's/^/file: /' || true
}
