# shellcheck shell=bash
# The one node: containerd, the kubelet and kube-proxy, with everything they write below the state folder.

NODE=local

ctr() { command ctr --address "$STATE/containerd.sock" --namespace k8s.io "$@"; }

start_containerd() {
  # restrict_oom_score_adj: where the machine lacks CAP_SYS_RESOURCE every pod would fail without it.
  # netns_mounts_under_state_dir: pods' network namespaces are recognised as ours by their path.
  cat >"$STATE/containerd.toml" <<TOML
version = 2
root = "$STATE/containerd/root"
state = "$STATE/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[debug]
  level = "warn"
[grpc]
  address = "$STATE/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$STATE/cni/conf"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "$STATE/runc"
TOML
  start containerd containerd --config "$STATE/containerd.toml"
}

# The cgroups that hold all pods. The kubelet wants them to be there; with a name of our own they are not
# mistaken for those of another kubelet on this machine.
make_cgroups() {
  local mount controller
  for mount in $(cgroup_mounts); do
    [[ ! -d $mount/$CGROUP ]] || continue
    if [[ -e $mount/cgroup.subtree_control ]]; then # version 2 passes on only what it is told to
      for controller in $(<"$mount/cgroup.controllers"); do
        echo "+$controller" >"$mount/cgroup.subtree_control"
      done
    fi
    mkdir "$mount/$CGROUP"
    if [[ -e $mount/cgroup.clone_children && -e $mount/cpuset.cpus ]]; then # version 1 starts without any CPU
      cat "$mount/cpuset.cpus" >"$mount/$CGROUP/cpuset.cpus"
      cat "$mount/cpuset.mems" >"$mount/$CGROUP/cpuset.mems"
    fi
  done
}

start_kubelet() {
  mkdir -p "$STATE/kubelet"
  : >"$STATE/kubelet/resolv.conf" # the cluster has no outside, so nobody to ask for names
  # imageGCHighThresholdPercent: images come by import, so one that is thrown away cannot be pulled again.
  # syncFrequency: how soon a changed ConfigMap is seen in a pod; the default of a minute makes tests long.
  cat >"$STATE/kubelet/config.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$STATE/containerd.sock
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
podLogsDir: $STATE/kubelet/pod-logs
volumePluginDir: $STATE/kubelet/plugins
resolvConf: $STATE/kubelet/resolv.conf
clusterDomain: cluster.local
clusterDNS: [$DNS_SERVICE_IP]
imageGCHighThresholdPercent: 100
syncFrequency: 10s
evictionHard: {memory.available: 100Mi}
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $PKI/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet.crt
tlsPrivateKeyFile: $PKI/kubelet.key
YAML
  start kubelet "$KUBERNETES_BIN/kubelet" --config="$STATE/kubelet/config.yaml" --kubeconfig="$PKI/kubelet.conf" \
    --root-dir="$STATE/kubelet/root" --cert-dir="$STATE/kubelet/pki" --hostname-override="$NODE" --node-ip="$NODE_IP"
}

start_kube_proxy() {
  # It must not set the machine's connection-tracking limits, hence the 0.
  start kube-proxy "$KUBERNETES_BIN/kube-proxy" --kubeconfig="$PKI/kube-proxy.conf" --hostname-override="$NODE" \
    --cluster-cidr="$POD_RANGE" --proxy-mode=iptables --conntrack-max-per-core=0 --profiling=false
}

node_ready() {
  [[ $(kubectl get node "$NODE" --request-timeout=5s -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) == True ]]
}

# Gives claims of the default storage class their volumes; a program of its own, because it runs on.
start_provisioner() {
  start provisioner bash "$CLUSTER_DIR/provisioner" "$KUBECONFIG_FILE" "$STATE/volumes"
}
