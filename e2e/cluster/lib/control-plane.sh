# shellcheck shell=bash
# The control plane: etcd, the API server, the controller manager and the scheduler. What is given to a function that
# starts one of the last three is added to its flags.

start_etcd() {
  # Nothing here outlives a crash of the machine, so etcd need not wait for the disk.
  start etcd etcd --data-dir="$STATE/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380
}

start_apiserver() {
  # The preferred address type: without it logs and exec look the node's name up in a DNS that is not there.
  start apiserver "$KUBERNETES_BIN/kube-apiserver" \
    --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --advertise-address="$NODE_IP" --cert-dir="$STATE/run" \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$PKI/service-accounts.pub" --service-account-signing-key-file="$PKI/service-accounts.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-client-certificate="$PKI/apiserver-to-kubelet.crt" \
    --kubelet-client-key="$PKI/apiserver-to-kubelet.key" --kubelet-preferred-address-types=InternalIP \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-cluster-ip-range="$SERVICE_RANGE" --allow-privileged=true --profiling=false "$@"
}

start_controller_manager() {
  start controller-manager "$KUBERNETES_BIN/kube-controller-manager" --kubeconfig="$PKI/controller-manager.conf" \
    --use-service-account-credentials --root-ca-file="$PKI/ca.crt" \
    --service-account-private-key-file="$PKI/service-accounts.key" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --bind-address=127.0.0.1 --leader-elect=false --profiling=false --pvclaimbinder-sync-period=2s --flex-volume-plugin-dir="$STATE/kubelet/plugins" "$@"
}

start_scheduler() {
  start scheduler "$KUBERNETES_BIN/kube-scheduler" --kubeconfig="$PKI/scheduler.conf" \
    --bind-address=127.0.0.1 --leader-elect=false --profiling=false "$@"
}

apiserver_ready() { kubectl get --raw=/readyz --request-timeout=5s; }

wait_for_apiserver() { wait_for apiserver 90 "the API server's /readyz" apiserver_ready; }
