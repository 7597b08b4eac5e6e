# shellcheck shell=bash
# A bare etcd and API server: no controllers, no nodes. What is sourced here takes them away when the script ends.

PLANE=faults
# shellcheck source=../lib/control-plane.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/control-plane.sh"
COMPONENTS=(apiserver etcd)

start_own_apiserver() { start_apiserver; }
