# shellcheck shell=bash
# Writes .cluster/env, the file that a user sources to work with the cluster.

write_env() {
  mkdir -p "$REPO_ROOT/.cluster"
  {
    echo "# Written by e2e/cluster/up. Use it with: source .cluster/env"
    export_line CLUSTER "$CLUSTER"
    if [[ $CLUSTER == current ]]; then
      export_line KUBECONFIG "${KUBECONFIG:-$HOME/.kube/config}"
    else
      export_line KUBECONFIG "$KUBECONFIG_FILE"
      export_line CANDLEPOWER_NETNS "/run/netns/$NETNS"
      # shellcheck disable=SC2016 # PATH is the one of the shell that sources the file
      printf 'case ":$PATH:" in *:%q:*) ;; *) export PATH=%q:%q:"$PATH" ;; esac\n' "$HELM_BIN" "$HELM_BIN" "$KUBERNETES_BIN"
    fi
  } >"$REPO_ROOT/.cluster/env.part"
  mv "$REPO_ROOT/.cluster/env.part" "$REPO_ROOT/.cluster/env"
}

export_line() { printf 'export %s=%q\n' "$1" "$2"; }
