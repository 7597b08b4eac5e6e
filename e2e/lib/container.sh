# shellcheck shell=bash
# Containers of the local cluster, as its node knows them.

# shellcheck source=../cluster/lib/process.sh
source "$CLUSTER_DIR/lib/process.sh"
# shellcheck source=../cluster/lib/node.sh
source "$CLUSTER_DIR/lib/node.sh"

# container_id NAMESPACE POD CONTAINER: of a container that runs.
container_id() {
  local status id
  status=$(kubectl --namespace "$1" get pod "$2" -o "jsonpath={.status.containerStatuses[?(@.name=='$3')].containerID} {.status.initContainerStatuses[?(@.name=='$3')].containerID}")
  id=${status##*containerd://}
  id=${id%% *}
  [[ -n $id ]] || die "the pod $2 has no container $3 that runs"
  echo "$id"
}
