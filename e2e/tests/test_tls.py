"""HTTPS by a mounted certificate, which may be replaced at any time; probes and metrics stay in the clear, on a port of their own."""

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import hub
import kube
import load
import models
from test_benchmark import wait_for_benchmark
from test_benchmark_runs import finished, start

NAME = "secure"
SECRET = "secure-tls"
TLS = {"tls": {"secretRef": {"name": SECRET}}}


def renew(folder: Path, namespace: str) -> Path:
    """Puts a new certificate into the Secret, and gives back its file."""
    certificate, key = hub.make_certificate(folder, f"DNS:{NAME}.{namespace}.svc")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate.read_text(), "tls.key": key.read_text()},
    }
    kube.apply(secret, namespace)
    return certificate


@pytest.fixture(scope="module")
def certificate(namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the first certificate."""
    return renew(tmp_path_factory.mktemp("first"), namespace)


@pytest.fixture(scope="module")
def secure(namespace: str, claim: str, certificate: Path) -> str:
    """The name of an LLMDeployment with a certificate."""
    kube.apply(models.llm(NAME, access=TLS), namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True")
    return NAME


def trusting(certificate: Path | None) -> ssl.SSLContext:
    """Trusts that certificate alone; or, without one, any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificate:
        context.load_verify_locations(cafile=certificate)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def get(address: str, namespace: str, path: str, trust: ssl.SSLContext) -> tuple[str, str]:
    """The first line of the answer, and the certificate that was shown."""
    host, name = ("127.0.0.1", int(address.rsplit(":", 1)[1])), f"{NAME}.{namespace}.svc"
    with socket.create_connection(host, 20) as plain, trust.wrap_socket(plain, server_hostname=name) as connection:
        shown = connection.getpeercert(binary_form=True)
        assert shown
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return answer.split("\r\n")[0], ssl.DER_cert_to_PEM_cert(shown)


def pod(namespace: str) -> dict[str, Any]:
    (found,) = kube.pods(NAME, namespace)
    return found


def test_requests_come_by_https_and_the_name_is_the_services(namespace: str, secure: str, certificate: Path) -> None:
    assert kube.get("llm", secure, namespace)["status"]["url"] == f"https://{secure}.{namespace}.svc:8443"
    ports = kube.get("service", secure, namespace)["spec"]["ports"]
    assert [(port["name"], port["port"]) for port in ports] == [("https", 8443)]
    with kube.forwarded(namespace, f"service/{secure}", "https") as address:
        assert get(address, namespace, "/v1/models", trusting(certificate))[0] == "HTTP/1.1 200 OK"


def test_probes_and_metrics_stay_in_the_clear_and_nothing_else_does(namespace: str, secure: str) -> None:
    with kube.forwarded(namespace, f"pod/{pod(namespace)['metadata']['name']}", "8080") as address:
        for path in ("/health/ready", "/metrics"):
            assert load.call("GET", f"{address}{path}", None)[0] == 200
        code, text = load.call("GET", f"{address}/v1/models", None)
        assert code == 404 and "https://" in text
    # The operator reads them, too.
    assert kube.condition(kube.get("llm", secure, namespace), "ModelLoaded")["status"] == "True"


def test_the_network_policy_keeps_metrics_for_those_who_read_them(namespace: str, secure: str) -> None:
    requests, metrics = kube.get("networkpolicy", secure, namespace)["spec"]["ingress"]
    assert requests["from"] == [{"namespaceSelector": {}}]
    assert [port["port"] for port in requests["ports"]] == [8443]
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kube.OPERATOR_NAMESPACE}}}
    assert operator in metrics["from"] and {"namespaceSelector": {}} not in metrics["from"]
    assert [port["port"] for port in metrics["ports"]] == [8080]


def test_a_benchmark_trusts_the_certificate_of_its_target(namespace: str, secure: str) -> None:
    start("over-tls", namespace, {"deployment": secure}, seconds=3)
    (scenario,) = finished("over-tls", namespace)["scenarios"]
    assert float(scenario["summary"]["tokensPerSecond"]) > 1


def test_a_benchmark_by_url_trusts_the_authority_that_it_names(namespace: str, secure: str, certificate: Path) -> None:
    authority = {"kind": "ConfigMap", "metadata": {"name": "authority"}, "data": {"root.pem": certificate.read_text()}}
    kube.apply({"apiVersion": "v1", **authority}, namespace)
    url = f"https://{secure}.{namespace}.svc:8443"
    ca = {"configMapRef": {"name": "authority"}, "key": "root.pem"}
    start("by-url-over-tls", namespace, {"url": url, "model": secure, "ca": ca}, seconds=3)
    (scenario,) = finished("by-url-over-tls", namespace)["scenarios"]
    assert float(scenario["summary"]["tokensPerSecond"]) > 1


def test_a_missing_authority_is_named(namespace: str) -> None:
    target = {"url": "https://nowhere.example", "model": "m", "ca": {"secretRef": {"name": "missing"}}}
    start("without-authority", namespace, target)
    resource = wait_for_benchmark("without-authority", namespace, "Complete", "False", "VolumeNotReady", 60)
    message = kube.condition(resource, "Complete")["message"]
    assert '"missing" not found' in message and "spec.target.ca" in message
    kube.kubectl("-n", namespace, "delete", "llmbench", "without-authority", "--wait=false")


def test_another_certificate_is_shown_without_a_restart(namespace: str, secure: str, tmp_path: Path) -> None:
    before = pod(namespace)["metadata"]["uid"]
    new = renew(tmp_path, namespace)
    expected = ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(new.read_text()))
    with kube.forwarded(namespace, f"service/{secure}", "https") as address:

        def shown() -> tuple[bool, str]:
            found = get(address, namespace, "/health/ready", trusting(None))[1]
            return found == expected, found

        kube.wait_for("the new certificate to be shown", shown, 120)
        assert get(address, namespace, "/v1/models", trusting(new))[0] == "HTTP/1.1 200 OK"
    assert pod(namespace)["metadata"]["uid"] == before
    assert kube.pods(NAME, namespace)[0]["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_missing_secret_is_named(namespace: str, claim: str) -> None:
    missing = {"tls": {"secretRef": {"name": "missing"}}}
    kube.apply(models.llm("missing", access=missing), namespace)
    resource = kube.wait_for_condition("missing", namespace, "Ready", "False", "VolumeNotReady")
    message = kube.condition(resource, "Ready")["message"]
    assert '"missing" not found' in message and "spec.access.tls" in message
    kube.kubectl("-n", namespace, "delete", "llm", "missing", "--wait=false")
