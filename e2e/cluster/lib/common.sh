# shellcheck shell=bash
# What every script here shares: fixed names, messages, cleaning up at exit, the cache and the lock.

CLUSTER_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPO_ROOT=$(cd "$CLUSTER_DIR/../.." && pwd)
# shellcheck source=../versions.env
source "$CLUSTER_DIR/versions.env"

# `local` is the cluster that `up` makes; `current` is whatever the user's own kubectl talks to.
CLUSTER=${CLUSTER:-local}
CACHE=${CANDLEPOWER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/candlepower}
KUBERNETES_BIN=$CACHE/kubernetes-$KUBERNETES_VERSION/bin
HELM_BIN=$CACHE/helm-$HELM_PACKAGE_VERSION/bin

# One such cluster a machine, so these are fixed: `up` and `down` of any clone mean the same cluster. The
# folder's path is short because the path of a unix socket may have 107 characters only.
STATE=/var/lib/candlepower-cluster
NETNS=candlepower
CGROUP=candlepower
LOCK=/run/lock/candlepower-cluster.lock
API_PORT=${CANDLEPOWER_API_PORT:-6443}
KUBECONFIG_FILE=$STATE/admin.conf

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  (($# == 0)) || printf '  %s\n' "$@" >&2
  exit 1
}

# ---- Cleaning up, however the script ends -------------------------------------------------------------

EXIT_STEPS=()
CRITICAL=0  # above 0: a signal has to wait, see `critical`
PENDING=0   # the exit status that a signal asked for meanwhile

# Runs the named function when the script ends; the last one registered runs first.
at_exit() { EXIT_STEPS+=("$1"); }

on_exit() {
  local status=$? i
  trap '' INT TERM HUP # a second Ctrl-C must not stop the cleaning
  set +e
  for ((i = ${#EXIT_STEPS[@]} - 1; i >= 0; i--)); do "${EXIT_STEPS[i]}" "$status"; done
  exit "$status"
}

on_signal() {
  PENDING=$1
  ((CRITICAL)) || { printf '\ninterrupted\n' >&2; exit "$PENDING"; }
}

trap on_exit EXIT
trap 'on_signal 130' INT
trap 'on_signal 143' TERM
trap 'on_signal 129' HUP

# Runs a command that a signal must not split in two, such as starting a process and noting its id.
critical() {
  CRITICAL=$((CRITICAL + 1))
  "$@"
  CRITICAL=$((CRITICAL - 1))
  ((CRITICAL || !PENDING)) || on_signal "$PENDING"
}

# ---- Cache and lock -----------------------------------------------------------------------------------

# Makes a scratch folder in the cache, in WORK. What is complete is renamed out of it, so that an
# interrupted run leaves nothing that looks finished.
new_work_dir() {
  mkdir -p "$CACHE"
  WORK=$(mktemp -d "$CACHE/.work.XXXXXX")
  at_exit remove_work_dir
}
# shellcheck disable=SC2317,SC2329 # called by name at exit
remove_work_dir() { [[ -z ${WORK:-} ]] || rm -rf "$WORK"; }

# Holds a lock file until the script ends. The holder's children must not inherit the descriptor (see
# `start` in process.sh), or a cluster left running would hold it for ever.
lock() {
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  flock --nonblock 9 && return
  say "another run of these scripts is at work; waiting for it (at most 15 minutes)"
  flock --timeout 900 9 || die "the other run did not end" "see who holds $1: fuser -v $1"
}

need_root() { ((EUID == 0)) || die "this needs root (network namespaces, mounts, containers)" "run it as root, or with: sudo -E"; }

# ---- kubectl ------------------------------------------------------------------------------------------

kubectl() {
  if [[ $CLUSTER == current ]]; then
    command kubectl "$@"
  else
    "$KUBERNETES_BIN/kubectl" --kubeconfig "$KUBECONFIG_FILE" "$@"
  fi
}

need_cluster() {
  [[ $CLUSTER == current || -e $STATE/complete ]] || die "the local cluster is not up" "start it: e2e/cluster/up"
}

check_cluster_choice() {
  case $CLUSTER in
    local | current) ;;
    *) die "CLUSTER is '$CLUSTER', which means nothing here" "CLUSTER=local (the default) or CLUSTER=current" ;;
  esac
}
check_cluster_choice
