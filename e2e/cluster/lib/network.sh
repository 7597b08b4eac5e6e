# shellcheck shell=bash
# The cluster's network: a namespace of its own, so that its addresses and firewall rules exist only there.

NODE_IP=10.201.0.1
SERVICE_RANGE=10.96.0.0/16
KUBERNETES_SERVICE_IP=10.96.0.1
DNS_SERVICE_IP=10.96.0.10
POD_RANGE=10.244.0.0/24

# `nsenter --net`, never `ip netns exec`: that one mounts /sys anew and so hides the cgroups.
in_cluster_network() { nsenter --net="/run/netns/$NETNS" "$@"; }

network_exists() { [[ -e /run/netns/$NETNS ]] && in_cluster_network true 2>/dev/null; }

make_network() {
  network_exists && return
  ip netns add "$NETNS"
  ip -n "$NETNS" link set lo up
  # A bridge stands in for the node's network card: not every kernel has `dummy` links. The route is only
  # there because an address without any route is refused before kube-proxy's rules see it.
  ip -n "$NETNS" link add node0 type bridge
  ip -n "$NETNS" addr add "$NODE_IP/24" dev node0
  ip -n "$NETNS" link set node0 up
  ip -n "$NETNS" route add default dev node0
  in_cluster_network sysctl -qw net.ipv4.ip_forward=1
  # Without it a pod cannot reach itself or a neighbour on the same bridge through a Service.
  modprobe br_netfilter 2>/dev/null || true # built in, or absent, on some kernels
  in_cluster_network sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
}

write_cni_config() {
  mkdir -p "$STATE/cni/conf"
  cat >"$STATE/cni/conf/10-candlepower.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "$NETNS", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$STATE/cni/addresses",
            "ranges": [[{"subnet": "$POD_RANGE"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

# kubectl, helm and port-forward run outside the namespace. Unix sockets know no network namespaces, so one
# leads from a port of the machine's loopback into it.
start_doorway_inside() {
  rm -f "$STATE/apiserver.sock"
  start doorway-inside socat "UNIX-LISTEN:$STATE/apiserver.sock,fork,mode=600" TCP:127.0.0.1:6443
}
start_doorway() {
  start_outside doorway socat "TCP-LISTEN:$API_PORT,bind=127.0.0.1,fork,reuseaddr" "UNIX-CONNECT:$STATE/apiserver.sock"
}

# No DNS server runs in this cluster. A Service without endpoints at the address that pods ask makes their
# lookups fail at once; without it they would wait for a timeout.
make_dns_placeholder() {
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: $DNS_SERVICE_IP
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
YAML
}
