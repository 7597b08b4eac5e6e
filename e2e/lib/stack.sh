# shellcheck shell=bash
# What the demo, the tests and the measurements share: from a bare machine to an operator that runs in the cluster.

E2E_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=../cluster/lib/common.sh
source "$E2E_DIR/cluster/lib/common.sh"
# shellcheck source=../cluster/lib/progress.sh
source "$E2E_DIR/cluster/lib/progress.sh"

# The same folder and flags as in the Makefile, so that each finds what the other has built.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target-rust-$(rustc --version 2>/dev/null | cut -d' ' -f2)}
CARGO_FLAGS=(--release --workspace --all-features --locked)
OWN_SERVER=${SERVER_BINARY:-} # binaries that the caller brings are not built here
OWN_OPERATOR=${OPERATOR_BINARY:-}
export SERVER_BINARY=${SERVER_BINARY:-$CARGO_TARGET_DIR/release/candlepower-server}
export OPERATOR_BINARY=${OPERATOR_BINARY:-$CARGO_TARGET_DIR/release/candlepower-operator}

# ---- Prerequisites ------------------------------------------------------------------------------------

# What the cluster needs (root, Debian, Go, Python, disk, memory) is checked by its own script; here is the rest.
check_prerequisites() {
  if [[ $CLUSTER == current ]]; then
    check_own_cluster
    return
  fi
  "$CLUSTER_DIR/prerequisites.sh"
  [[ -n $OWN_SERVER && -n $OWN_OPERATOR ]] || check_rust
}

check_rust() {
  local wanted found
  wanted=$(sed -nE 's/^rust-version *= *"([0-9.]+)".*/\1/p' "$REPO_ROOT/Cargo.toml")
  { command -v cargo && command -v rustc; } >/dev/null || die "Rust is not installed" "install Rust $wanted or newer: https://rustup.rs"
  found=$(rustc --version | cut -d' ' -f2)
  printf '%s\n%s\n' "$wanted" "$found" | sort --version-sort --check=quiet ||
    die "rustc is $found; Candlepower needs $wanted or newer" "rustup update stable"
  need_gibibytes "$(existing_part "$CARGO_TARGET_DIR")" 4
}

# need_gibibytes FOLDER NUMBER: only where the build has yet to take place.
need_gibibytes() {
  local free
  [[ ! -x $SERVER_BINARY || ! -x $OPERATOR_BINARY ]] || return 0
  free=$(($(stat -f -c '%a * %S' "$1") / 1024 ** 3))
  ((free >= $2)) || die "$1 has $free GiB free; the Rust build needs $2" "make room, or set CARGO_TARGET_DIR to a folder on another disk"
}

existing_part() {
  local path=$1
  while [[ ! -d $path ]]; do path=$(dirname "$path"); done
  echo "$path"
}

check_own_cluster() {
  command -v helm >/dev/null || die "CLUSTER=current needs helm on PATH" "https://helm.sh/docs/intro/install"
  command -v python3 >/dev/null || die "python3 is not installed"
  [[ -n ${OPERATOR_IMAGE:-} && -n ${SERVER_IMAGE:-} ]] ||
    die "your cluster cannot take the images from this machine; name two that it can pull" \
      "1. build them: cargo build --release, then CLUSTER=current e2e/cluster/images, which also says how to push them" \
      "2. OPERATOR_IMAGE=registry.example.org/operator:tag SERVER_IMAGE=registry.example.org/server:tag CLUSTER=current $0"
}

# ---- Stages -------------------------------------------------------------------------------------------

# Starts the cluster if need be, and makes its kubectl and helm this script's.
bring_up_cluster() {
  "$CLUSTER_DIR/up"
  # shellcheck source=/dev/null
  source "$REPO_ROOT/.cluster/env"
}

build_binaries() {
  [[ -z $OWN_SERVER || -z $OWN_OPERATOR ]] || { say "using $SERVER_BINARY and $OPERATOR_BINARY"; return; }
  CARGO_TERM_QUIET=false with_progress "cargo build" "$CACHE/log/cargo-build.log" \
    "$REPO_ROOT/.ci/cargo" build --manifest-path "$REPO_ROOT/Cargo.toml" "${CARGO_FLAGS[@]}" --bins
}

install_chart() { with_progress "helm upgrade --install candlepower" "$CACHE/log/helm.log" "$E2E_DIR/lib/install-chart"; }

# ---- Forwarded ports ----------------------------------------------------------------------------------

FORWARDS=()

# forward NAMESPACE TARGET PORT: makes a port of a pod or Service reachable; the local port comes in FORWARDED.
forward() {
  local log deadline=$((SECONDS + 20))
  log=$(mktemp)
  # `env` instead of the function `kubectl`: the process that is noted has to be kubectl itself.
  critical start_forward "$log" env kubectl --namespace "$1" port-forward "$2" ":$3"
  until FORWARDED=$(sed -nE 's/^Forwarding from 127.0.0.1:([0-9]+).*/\1/p' "$log") && [[ -n $FORWARDED ]]; do
    if ((SECONDS >= deadline)) || ! kill -0 "${FORWARDS[-1]}" 2>/dev/null; then
      die "kubectl cannot forward a port to $2 in $1" "$(<"$log")"
    fi
    sleep 0.1
  done
  rm -f "$log"
}

start_forward() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 </dev/null &
  FORWARDS+=("$!")
}

# shellcheck disable=SC2317,SC2329 # called by name at exit
stop_forwards() {
  local pid
  for pid in "${FORWARDS[@]}"; do
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
}
at_exit stop_forwards
