# shellcheck shell=bash
# The cluster's certificates, keys and kubeconfig files: one authority, made anew with each cluster.

PKI=$STATE/pki

make_pki() {
  [[ -e $PKI/complete ]] && return
  local log=$STATE/log/pki.log
  mkdir -p "$PKI"
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$PKI/ca.key" -out "$PKI/ca.crt" \
      -days 3650 -subj /CN=candlepower-cluster
    openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/service-accounts.key"
    openssl ec -in "$PKI/service-accounts.key" -pubout -out "$PKI/service-accounts.pub"

    certificate apiserver kube-apiserver kubernetes "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$KUBERNETES_SERVICE_IP,IP:$NODE_IP"
    certificate kubelet "system:node:$NODE" system:nodes "DNS:$NODE,IP:127.0.0.1,IP:$NODE_IP"
    certificate apiserver-to-kubelet apiserver-to-kubelet system:masters
    certificate admin admin system:masters
    certificate controller-manager system:kube-controller-manager system:kube-controller-manager
    certificate scheduler system:kube-scheduler system:kube-scheduler
    certificate kube-proxy system:kube-proxy system:node-proxier
  } >>"$log" 2>&1 || die "openssl could not make the certificates" "the whole log: $log"

  local name
  for name in kubelet controller-manager scheduler kube-proxy; do kubeconfig "$name" 6443 >"$PKI/$name.conf"; done
  kubeconfig admin "$API_PORT" >"$KUBECONFIG_FILE"
  touch "$PKI/complete"
}

# certificate FILE COMMON-NAME ORGANISATION [ALTERNATIVE-NAMES]
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$PKI/$1.key" -out "$PKI/$1.csr" -subj "/O=$3/CN=$2"
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 3650 -out "$PKI/$1.crt" \
    -extfile <(printf '%s\n' basicConstraints=CA:FALSE keyUsage=digitalSignature extendedKeyUsage=clientAuth,serverAuth "${4:+subjectAltName=$4}")
}

# kubeconfig FILE PORT: prints a kubeconfig that holds its certificates, so that it can be copied anywhere.
kubeconfig() {
  cat <<YAML
apiVersion: v1
kind: Config
clusters:
- name: candlepower
  cluster:
    server: https://127.0.0.1:$2
    certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$PKI/$1.crt")
    client-key-data: $(base64 -w0 "$PKI/$1.key")
contexts:
- name: candlepower
  context: {cluster: candlepower, user: $1}
current-context: candlepower
YAML
}
