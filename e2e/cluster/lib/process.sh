# shellcheck shell=bash
# Starts, finds and stops the cluster's own processes. Each is recorded as "pid start-time", because a pid
# alone may belong to somebody else by the time it is used.

# Prints what /proc says of a process as STATE GROUP START-TIME; fails when there is none.
process_stat() {
  local line fields
  { line=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  read -ra fields <<<"${line##*) }" # behind the command's name, which may hold spaces and parentheses
  printf '%s %s %s\n' "${fields[0]}" "${fields[2]}" "${fields[19]}"
}

# start NAME COMMAND...: runs a command inside the cluster's network namespace, apart from this shell.
start() { critical start_process "$NETNS" "$@"; }
# start_outside NAME COMMAND...: the same in the machine's own network namespace.
start_outside() { critical start_process "" "$@"; }

start_process() {
  local netns=$1 name=$2 enter=() self started
  shift 2
  [[ -z $netns ]] || enter=(nsenter --net="/run/netns/$netns")
  rm -f "$STATE/run/$name.pid"
  (
    # The child records itself, so that it is known even if this script is killed the moment after.
    trap - INT TERM HUP EXIT
    cd "$STATE" || exit
    self=$BASHPID
    read -r _ _ started < <(process_stat "$self")
    echo "$self $started" >"$STATE/run/$name.tmp"
    mv "$STATE/run/$name.tmp" "$STATE/run/$name.pid"
    # A clean environment: a proxy setting of the user's must not reach a cluster that has no outside.
    exec setsid "${enter[@]}" env -i PATH="$KUBERNETES_BIN:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
      HOME="$STATE" "$@" </dev/null >>"$STATE/log/$name.log" 2>&1 9>&-
  ) &
  disown # or the shell would announce its end
  while [[ ! -e $STATE/run/$name.pid ]]; do sleep 0.01; done
}

# Tells whether a recorded process runs.
alive() {
  local pid started state now
  read -r pid started 2>/dev/null <"$STATE/run/$1.pid" || return 1
  read -r state _ now < <(process_stat "$pid") || return 1
  [[ $now == "$started" && $state != Z ]]
}

# Prints the ids of a recorded process and of the children in its group. A child may outlive its parent: it
# counts when its command line names our state folder, as that of each component does.
members() {
  local pid started state now other
  read -r pid started 2>/dev/null <"$STATE/run/$1.pid" || return 0
  for other in $(pgrep --pgroup "$pid"); do
    read -r state _ now < <(process_stat "$other") || continue
    [[ $state != Z ]] || continue
    if [[ $other == "$pid" ]]; then
      [[ $now != "$started" ]] || echo "$other"
    elif grep -qF "$STATE" "/proc/$other/cmdline" 2>/dev/null; then
      echo "$other"
    fi
  done
}

# Stops recorded processes: asks, waits up to five seconds, then kills.
stop() {
  local name pids deadline=$((SECONDS + 5)) asked=0
  while true; do
    pids=()
    for name in "$@"; do mapfile -t -O "${#pids[@]}" pids < <(members "$name"); done
    ((${#pids[@]})) || break
    if ((SECONDS >= deadline)); then
      kill -s KILL "${pids[@]}" 2>/dev/null || true
    elif ((!asked)); then
      kill -s TERM "${pids[@]}" 2>/dev/null || true
      asked=1
    fi
    sleep 0.1
    ((SECONDS < deadline + 10)) || die "these processes do not end: ${pids[*]}"
  done
  for name in "$@"; do rm -f "$STATE/run/$name.pid"; done
}

# wait_for COMPONENT SECONDS WHAT COMMAND...: polls until the command succeeds. Fails at once when any component
# has died: what one waits for is not always the one to blame.
wait_for() {
  local name=$1 limit=$2 what=$3 began=$SECONDS record
  shift 3
  until "$@" >/dev/null 2>&1; do
    for record in "$STATE"/run/*.pid; do
      record=$(basename "$record" .pid)
      alive "$record" || fail_component "$record" "$record ended while the cluster was starting"
    done
    ((SECONDS - began < limit)) || fail_component "$name" "$what: not within ${limit}s"
    sleep 0.1
  done
}

fail_component() {
  printf '\nthe end of %s:\n' "$STATE/log/$1.log" >&2
  tail -n 20 "$STATE/log/$1.log" | cut -c1-300 | sed 's/^/  | /' >&2
  die "$2"
}
