#!/usr/bin/env bash
# Builds or downloads programs of the local cluster into the cache; what is there already is left as it is.
# usage: build.sh [PART...]      parts: kubernetes helm pause (what `up` needs, and the default), jaeger, prometheus,
#                                prometheus-operator, coredns, alertmanager, kwok (for e2e/scale)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
source "$CLUSTER_DIR/lib/build.sh"

(($#)) || set -- kubernetes helm pause
for part in "$@"; do
  case $part in
    kubernetes | helm | pause | jaeger | prometheus | prometheus-operator | coredns | alertmanager | kwok) "build_${part//-/_}" ;;
    *) die "there is nothing called '$part' to build" "usage: build.sh [kubernetes] [helm] [pause] [jaeger] [prometheus] [prometheus-operator] [coredns] [alertmanager] [kwok]" ;;
  esac
done
