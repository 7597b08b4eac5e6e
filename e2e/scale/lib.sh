# shellcheck shell=bash
# A control plane of its own, beside the local cluster if there is one, with nodes that KWOK pretends and everything that
# the operator needs, but not the operator: that runs as a process. What is sourced here takes it away when the script ends.

# shellcheck source=../lib/stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/stack.sh"
# Not the local cluster's: its scripts work on whatever these name.
STATE=/var/lib/candlepower-scale
NETNS=candlepower-scale
LOCK=/run/lock/candlepower-scale.lock
API_PORT=6443 # inside the network namespace, where everything here runs
KUBECONFIG_FILE=$STATE/admin.conf
NODE=none # there is no kubelet
for part in process build network pki control-plane teardown; do
  # shellcheck source=/dev/null
  source "$CLUSTER_DIR/lib/$part.sh"
done
COMPONENTS=(kwok scheduler controller-manager apiserver etcd)

SCALE_DIR=$E2E_DIR/scale
AUDIT_LOG=$STATE/log/audit.log
OPERATOR_USER=system:serviceaccount:candlepower-system:candlepower # whose rights the chart gives
QPS=(--kube-api-qps=1000 --kube-api-burst=1000)                   # or they, not the operator, would be what is slow

# prepare: from a bare machine to a control plane that runs.
prepare() {
  "$CLUSTER_DIR/prerequisites.sh"
  check_rust
  build_kubernetes
  build_kwok
  build_programs
  lock "$LOCK"
  take_away # what a killed run has left
  at_exit take_away
  at_exit keep_logs
  bring_up
}

# measure PROGRAM.py ARGUMENT...: runs a program of this folder inside the control plane's network.
measure() {
  in_cluster_network env KUBECONFIG="$KUBECONFIG_FILE" PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$E2E_DIR/perf:$E2E_DIR/truth" \
    PATH="$KUBERNETES_BIN:$PATH" python3 "$SCALE_DIR/$1" "${@:2}" \
    --operator "$OPERATOR_BINARY" --client "$CARGO_TARGET_DIR/release/examples/write_objects" \
    --credentials "$PKI" --audit "$AUDIT_LOG" --logs "$CACHE/log/scale" 9>&- &
  MEASUREMENT=$!
  at_exit stop_measurement
  wait "$MEASUREMENT"
}

# With the flags of all other builds, so that what they have compiled is not compiled again.
build_programs() {
  local targets=(--example write_objects)
  [[ -n $OWN_OPERATOR ]] || targets+=(--bin candlepower-operator)
  with_progress "cargo build of the operator and of the client" "$CACHE/log/scale-build.log" \
    "$REPO_ROOT/.ci/cargo" build --manifest-path "$REPO_ROOT/Cargo.toml" "${CARGO_FLAGS[@]}" "${targets[@]}"
}

kubectl() { in_cluster_network "$KUBERNETES_BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE" "$@"; }

bring_up() {
  mkdir -p "$STATE"/{run,log}
  chmod 700 "$STATE" # the keys in it
  make_network
  make_pki
  make_users >>"$STATE/log/pki.log" 2>&1
  start_etcd
  start_audited_apiserver
  wait_for_apiserver
  start_controller_manager "${QPS[@]}"
  start_scheduler "${QPS[@]}"
  start kwok "$CACHE/kwok-$KWOK_VERSION/kwok" --kubeconfig="$KUBECONFIG_FILE" --manage-all-nodes --cidr=10.244.0.0/16 \
    --node-lease-duration-seconds=40 --enable-crds=
  wait_for controller-manager 60 "the default service account" kubectl get serviceaccount default
  install_operator
  make_nodes
}

start_audited_apiserver() {
  start_apiserver --audit-policy-file="$SCALE_DIR/audit-policy.yaml" --audit-log-path="$AUDIT_LOG" --audit-log-maxsize=1000
}

make_users() {
  certificate operator "$OPERATOR_USER" system:serviceaccounts
  certificate write-objects write-objects system:masters
  local name
  for name in operator write-objects; do kubeconfig "$name" "$API_PORT" >"$PKI/$name.conf"; done
}

# As its manifest does, but without the pod: the operator runs as a process that can be measured.
install_operator() {
  kubectl apply --server-side --filename "$REPO_ROOT/manifests/install.yaml" >/dev/null
  kubectl --namespace candlepower-system delete deployment candlepower >/dev/null
  kubectl wait --for=condition=Established crd/llmdeployments.candlepower.dev crd/llmbenchmarks.candlepower.dev --timeout=30s >/dev/null
}

# Ten, each large enough for any number of pods.
make_nodes() {
  local number
  for number in {0..9}; do
    cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: kwok-$number
  labels: {kubernetes.io/hostname: kwok-$number, kubernetes.io/os: linux, kubernetes.io/arch: amd64}
status:
  allocatable: {cpu: "100000", memory: 100Ti, pods: "10000", ephemeral-storage: 100Ti}
  capacity: {cpu: "100000", memory: 100Ti, pods: "10000", ephemeral-storage: 100Ti}
YAML
  done | kubectl apply --server-side --filename - >/dev/null
  kubectl wait --for=condition=Ready node --all --timeout=60s >/dev/null
}

# shellcheck disable=SC2317,SC2329 # called by name at exit
keep_logs() {
  (($1)) || return 0
  mkdir -p "$CACHE/log/scale"
  cp -r "$STATE/log/." "$CACHE/log/scale/"
  say "the logs are kept in $CACHE/log/scale"
}

take_away() {
  [[ ! -d $STATE/run ]] || kill_components
  [[ ! -e /run/netns/$NETNS ]] || ip netns del "$NETNS"
  rm -rf "$STATE"
}

# It ends what it has started.
# shellcheck disable=SC2317,SC2329 # called by name at exit
stop_measurement() {
  kill "$MEASUREMENT" 2>/dev/null
  wait "$MEASUREMENT" 2>/dev/null
}

