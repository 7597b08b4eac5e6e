# shellcheck shell=bash
# A whole control plane, with nodes that KWOK pretends and everything that the operator needs. What is sourced here takes it
# away when the script ends.

PLANE=scale
# shellcheck source=../lib/control-plane.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/control-plane.sh"
COMPONENTS=(kwok scheduler controller-manager apiserver etcd)

SCALE_DIR=$E2E_DIR/scale
AUDIT_LOG=$STATE/log/audit.log
QPS=(--kube-api-qps=1000 --kube-api-burst=1000) # or they, not the operator, would be what is slow

# prepare: from a bare machine to a control plane that runs.
prepare() {
  "$CLUSTER_DIR/prerequisites.sh"
  check_rust
  build_kubernetes
  build_kwok
  build_programs
  own_plane
  bring_up
}

# measure PROGRAM.py ARGUMENT...: runs a program of this folder inside the control plane's network.
measure() {
  inside env PYTHONPATH="$E2E_DIR/perf:$E2E_DIR/truth" python3 "$SCALE_DIR/$1" "${@:2}" \
    --operator "$OPERATOR_BINARY" --client "$CARGO_TARGET_DIR/release/examples/write_objects" \
    --credentials "$PKI" --audit "$AUDIT_LOG" --logs "$PLANE_LOGS"
}

# With the flags of all other builds, so that what they have compiled is not compiled again.
build_programs() {
  local targets=(--example write_objects)
  [[ -n $OWN_OPERATOR ]] || targets+=(--bin candlepower-operator)
  with_progress "cargo build of the operator and of the client" "$CACHE/log/scale-build.log" \
    "$REPO_ROOT/.ci/cargo" build --manifest-path "$REPO_ROOT/Cargo.toml" "${CARGO_FLAGS[@]}" "${targets[@]}"
}

bring_up() {
  bring_up_apiserver
  make_user write-objects write-objects system:masters
  start_controller_manager "${QPS[@]}"
  start_scheduler "${QPS[@]}"
  start kwok "$CACHE/kwok-$KWOK_VERSION/kwok" --kubeconfig="$KUBECONFIG_FILE" --manage-all-nodes --cidr=10.244.0.0/16 \
    --node-lease-duration-seconds=40 --enable-crds=
  wait_for controller-manager 60 "the default service account" kubectl get serviceaccount default
  install_operator
  make_nodes
}

# Whose requests are counted.
start_own_apiserver() {
  start_apiserver --audit-policy-file="$SCALE_DIR/audit-policy.yaml" --audit-log-path="$AUDIT_LOG" --audit-log-maxsize=1000
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
