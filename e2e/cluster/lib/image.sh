# shellcheck shell=bash
# Builds container images as archives in the cache, measures them, and puts them into the cluster.

# Image storage and settings of our own within the cache. The vfs driver copies layers, but mounts nothing;
# these images have few layers, and no step of theirs runs anything.
images() {
  mkdir -p "$CACHE/buildah"
  printf '[network]\nnetwork_config_dir = "%s"\n' "$CACHE/buildah/network" >"$CACHE/buildah/containers.conf"
  CONTAINERS_CONF=$CACHE/buildah/containers.conf buildah --root "$CACHE/buildah/storage" \
    --runroot "$CACHE/buildah/run" --storage-driver vfs "$@"
}

# build_image NAME:TAG CONTAINERFILE CONTEXT ARCHIVE [OPTION...]: builds and writes a docker-archive.
build_image() {
  local image=$1 containerfile=$2 context=$3 archive=$4 log=$CACHE/log/image.log
  shift 4
  mkdir -p "$CACHE/log" "$(dirname "$archive")"
  rm -f "$archive.part"
  {
    images build --format docker --pull=never --tag "$image" --file "$containerfile" "$@" "$context" &&
      images push "$image" "docker-archive:$archive.part:$image" &&
      images rmi --prune
  } >"$log" 2>&1 </dev/null || { tail -n 15 "$log" >&2; die "the image $image could not be built" "the whole log: $log"; }
  mv "$archive.part" "$archive"
}

# Prints the bytes that an archive's layers hold unpacked (in a docker-archive they are not compressed).
unpacked_size() {
  python3 - "$1" <<'PYTHON'
import io, json, sys, tarfile
total = 0
with tarfile.open(sys.argv[1]) as archive:
    for layer in json.load(archive.extractfile("manifest.json"))[0]["Layers"]:
        with tarfile.open(fileobj=archive.extractfile(layer)) as files:
            total += sum(f.size for f in files if f.isfile())
print(total)
PYTHON
}

# import_image ARCHIVE: puts an image into the local cluster's containerd, in place of one of the same name.
import_image() { ctr images import "$1" >/dev/null; }

# The pause image, which containerd needs for every pod.
PAUSE_ARCHIVE=$CACHE/images/pause-$PAUSE_BUILD.tar
build_pause_image() {
  [[ -e $PAUSE_ARCHIVE ]] ||
    build_image "$PAUSE_IMAGE" "$CLUSTER_DIR/pause/Containerfile" "$CACHE/pause-$PAUSE_BUILD" "$PAUSE_ARCHIVE"
}

BASE_TREE=base-$BASE_IMAGE_SUITE-$BASE_IMAGE_BUILD
BASE_IMAGE=localhost/candlepower-base:$BASE_IMAGE_SUITE-$BASE_IMAGE_BUILD
BASE_ARCHIVE=$CACHE/images/$BASE_TREE.tar

megabytes() { awk -v bytes="$1" 'BEGIN {printf "%.1f MB", bytes / 1e6}'; }
