# shellcheck shell=bash
# A control plane of its own, beside the local cluster if there is one, with everything that the operator needs, but not the
# operator: that runs as a process. Whoever sources this has set PLANE, by which its folder, network namespace and lock are
# named, and defines `start_own_apiserver`. It is taken away when the script that has called `own_plane` ends.

# shellcheck source=stack.sh
source "$(dirname "${BASH_SOURCE[0]}")/stack.sh"
# Not the local cluster's: its scripts work on whatever these name.
STATE=/var/lib/candlepower-$PLANE
NETNS=candlepower-$PLANE
LOCK=/run/lock/candlepower-$PLANE.lock
API_PORT=6443 # inside the network namespace, where everything here runs
KUBECONFIG_FILE=$STATE/admin.conf
NODE=none # there is no kubelet
PLANE_LOGS=$CACHE/log/$PLANE
for part in process build network pki control-plane teardown; do
  # shellcheck source=/dev/null
  source "$CLUSTER_DIR/lib/$part.sh"
done

OPERATOR_USER=system:serviceaccount:candlepower-system:candlepower # whose rights the chart gives

# own_plane: makes room for it, and takes it away at the end, however that comes.
own_plane() {
  lock "$LOCK"
  take_away # what a killed run has left
  at_exit take_away
  at_exit keep_logs
  at_exit stop_inside
}

# inside COMMAND...: runs a program in the control plane's network and ends it with this script. (A function in the
# background would be a shell that has the program as its child, and `kill` would not reach that one.)
inside() {
  local status=0
  nsenter --net="/run/netns/$NETNS" env "${NO_PROXY_SETTINGS[@]}" KUBECONFIG="$KUBECONFIG_FILE" PYTHONDONTWRITEBYTECODE=1 \
    PATH="$KUBERNETES_BIN:$PATH" "$@" 9>&- &
  INSIDE=$!
  wait "$INSIDE" || status=$?
  INSIDE=""
  return "$status"
}

# Of the user's: that network has no outside.
NO_PROXY_SETTINGS=(--unset=http_proxy --unset=https_proxy --unset=all_proxy --unset=HTTP_PROXY --unset=HTTPS_PROXY --unset=ALL_PROXY)

kubectl() { in_cluster_network "$KUBERNETES_BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE" "$@"; }

bring_up_apiserver() {
  mkdir -p "$STATE"/{run,log}
  chmod 700 "$STATE" # the keys in it
  make_network
  make_pki
  make_user operator "$OPERATOR_USER" system:serviceaccounts
  start_etcd
  start_own_apiserver
  wait_for_apiserver
}

# make_user FILE NAME GROUP: its certificate, and a kubeconfig with that.
make_user() {
  certificate "$@" >>"$STATE/log/pki.log" 2>&1
  kubeconfig "$1" "$API_PORT" >"$PKI/$1.conf"
}

# As its manifest does, but without the pod: the operator runs as a process.
install_operator() {
  kubectl apply --server-side --filename "$REPO_ROOT/manifests/install.yaml" >/dev/null
  kubectl --namespace candlepower-system delete deployment candlepower >/dev/null
  kubectl wait --for=condition=Established crd/llmdeployments.candlepower.dev crd/llmbenchmarks.candlepower.dev --timeout=30s >/dev/null
}

# end_now COMPONENT...: they end without a word.
end_now() {
  local COMPONENTS=("$@")
  kill_components
}

# shellcheck disable=SC2317,SC2329 # called by name at exit
keep_logs() {
  (($1)) || return 0
  mkdir -p "$PLANE_LOGS"
  cp -r "$STATE/log/." "$PLANE_LOGS/"
  say "the logs are kept in $PLANE_LOGS"
}

take_away() {
  [[ ! -d $STATE/run ]] || kill_components
  if [[ -e /run/netns/$NETNS ]]; then
    kill_until_gone in_own_network # operators, if what had started them was killed
    ip netns del "$NETNS"
  fi
  rm -rf "$STATE"
}

# shellcheck disable=SC2317,SC2329 # called by name
in_own_network() { ip netns pids "$NETNS"; }

# It ends what it has started.
# shellcheck disable=SC2317,SC2329 # called by name at exit
stop_inside() {
  [[ -n ${INSIDE:-} ]] || return 0
  kill "$INSIDE" 2>/dev/null
  wait "$INSIDE" 2>/dev/null
}
