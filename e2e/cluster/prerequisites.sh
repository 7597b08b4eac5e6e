#!/usr/bin/env bash
# Checks what the local cluster needs of this machine, says how to cure what is missing, and installs the
# Debian packages that are not there yet. Takes no time when all is in place.
# usage: prerequisites.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
source "$CLUSTER_DIR/lib/process.sh"

# "command or file" and the Debian package that brings it. Asking for the command, not for the package,
# leaves alone what came another way (Docker brings a containerd and a runc of its own).
NEEDED=(
  etcd=etcd-server containerd=containerd ctr=containerd runc=runc /usr/lib/cni/bridge=containernetworking-plugins
  conntrack=conntrack socat=socat iptables=iptables ip=iproute2 nsenter=util-linux pgrep=procps
  openssl=openssl buildah=buildah mmdebstrap=mmdebstrap
)

check_machine() {
  need_root
  [[ $(uname -m) == x86_64 ]] || die "this machine is $(uname -m); the local cluster is for x86_64" "use a cluster of yours instead: CLUSTER=current"
  local id="" version="" key value
  while IFS='=' read -r key value; do
    case $key in ID) id=${value//\"/} ;; VERSION_ID) version=${value//\"/} ;; esac
  done </etc/os-release
  [[ $id == debian ]] || die "this is '$id'; the local cluster installs packages of Debian 12" "use a Debian 12 machine or VM, or a cluster of yours: CLUSTER=current"
  [[ $version == 12 ]] || warn "this is Debian $version; the local cluster is tested on Debian 12"
  grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null ||
    die "this kernel has no overlay file system, which containers need" "use another kernel, or CLUSTER=current"
}

check_tools() {
  command -v go >/dev/null || die "go is not installed" "install Go 1.24 or newer from https://go.dev/dl and put it on PATH"
  command -v python3 >/dev/null || die "python3 is not installed" "apt-get install python3 python3-pip"
  python3 -c "import pip" 2>/dev/null || die "python3 has no pip" "apt-get install python3-pip"
  command -v cc >/dev/null || die "there is no C compiler (cc)" "apt-get install gcc libc6-dev"
  local version
  version=$(GOTOOLCHAIN=local go env GOVERSION) # such as go1.26.1
  [[ $version =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge 24 ]] ||
    die "go is $version; Kubernetes $KUBERNETES_VERSION needs 1.24 or newer" "install it from https://go.dev/dl"
}

check_room() {
  local needed=14 free memory
  [[ ! -d $KUBERNETES_BIN ]] || needed=3 # the build itself is most of it
  mkdir -p "$CACHE"
  free=$(($(stat -f -c '%a * %S' "$CACHE") / 1024 ** 3))
  ((free >= needed)) || die "$CACHE has $free GiB free; $needed are needed" "make room, or set CANDLEPOWER_CACHE to a folder on another disk"
  free=$(($(stat -f -c '%a * %S' "$(dirname "$STATE")") / 1024 ** 3))
  ((free >= 3)) || die "$(dirname "$STATE") has $free GiB free; 3 are needed" "make room there"
  memory=$(($(awk '/^MemAvailable/ {print $2}' /proc/meminfo) / 1024))
  ((memory >= 1500)) || alive apiserver || die "$memory MiB of memory are free; the cluster needs 1500" "end something else first"
}

check_port() {
  # Opening the port succeeds only where something listens on it.
  if ! alive doorway && (exec 3<>"/dev/tcp/127.0.0.1/$API_PORT") 2>/dev/null; then
    die "port $API_PORT of 127.0.0.1 is taken by another program, perhaps another Kubernetes" \
      "stop it (ss -ltnp 'sport = :$API_PORT' shows it), or choose another: CANDLEPOWER_API_PORT=16443"
  fi
}

install_packages() {
  local item missing=() log=$CACHE/log/apt.log
  for item in "${NEEDED[@]}"; do
    command -v "${item%%=*}" >/dev/null || missing+=("${item#*=}")
  done
  ((${#missing[@]})) || return 0
  say "installing Debian packages: ${missing[*]}"
  mkdir -p "$CACHE/log"
  lock "$LOCK"
  keep_services_off
  {
    apt-get update || true # one broken source of the user's must not matter; the installation tells
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1 </dev/null || { tail -n 15 "$log" >&2; die "apt-get failed" "the whole log: $log"; }
}

# Packages such as etcd-server start a system service when installed; this one file is how Debian forbids it.
keep_services_off() {
  [[ ! -e /usr/sbin/policy-rc.d ]] || return 0
  at_exit allow_services
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
}
# shellcheck disable=SC2317,SC2329 # called by name at exit
allow_services() { rm -f /usr/sbin/policy-rc.d; }

check_machine
check_tools
check_room
[[ $CLUSTER == current ]] || check_port
install_packages
