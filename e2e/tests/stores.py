"""Real stores of models for pods of the local cluster: a bucket by s3s-fs, and a registry by Debian's docker-registry.

As a program, in the cluster's network:
stores.py put URL FILE               uploads FILE to a signed address;
stores.py push URL LOGIN FILE NAME   makes FILE the artifact models/small:1 of a registry, as ModelPack describes it.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import hub
import kube

KEY, SECRET = "tests", "right"
BUCKET = "models"
USER, PASSWORD = "tests", "right"
# The password as bcrypt makes it, with little effort.
PASSWORDS = f"{USER}:$2y$05$abcdefghijklmnopqrstuu8xaCxxL82bnl.UY74PMksDxIJShppPC\n"
REPOSITORY = "models/small"


def programs() -> tuple[str, str]:
    """The registry and the bucket's server."""
    registry, bucket = kube.run(kube.E2E / "cluster" / "stores").split()
    return registry, bucket


@contextlib.contextmanager
def listening(port: int, log: Path, *command: str | Path) -> Iterator[str]:
    """Runs a server in the cluster's network until the end of the block, and gives its address."""
    with log.open("wb") as output:
        process = subprocess.Popen(["nsenter", f"--net={hub.NETWORK}", *command], stdout=output, stderr=output)
    try:
        hub.wait_until_it_listens(port, process)
        yield f"{hub.ADDRESS}:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextlib.contextmanager
def bucket(file: Path, key: str, folder: Path, port: int) -> Iterator[str]:
    """A bucket that holds `file` under `key`, for those who sign with KEY and SECRET; gives the server's address."""
    root = folder / "buckets"
    (root / BUCKET).mkdir(parents=True)
    keys = ["--access-key", KEY, "--secret-key", SECRET]
    command = [programs()[1], "--host", hub.ADDRESS, "--port", str(port), *keys, root]
    with listening(port, folder / "bucket.log", *command) as address:
        in_the_network("put", signed("PUT", address, f"/{BUCKET}/{key}"), file)
        yield address


@contextlib.contextmanager
def registry(file: Path, name: str, folder: Path, port: int, *, is_open: bool = False) -> Iterator[tuple[str, Path]]:
    """A registry with `file` as an artifact's file `name`, for USER and PASSWORD unless it `is_open`; gives its address and log."""
    passwords, config, log = folder / "passwords", folder / "registry.json", folder / "registry.log"
    passwords.write_text(PASSWORDS)
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": f"{hub.ADDRESS}:{port}"},
    }
    if not is_open:
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(passwords)}}
    config.write_text(json.dumps(settings))  # JSON is YAML
    with listening(port, log, programs()[0], "serve", config) as address:
        in_the_network("push", f"http://{address}", f"{USER}:{PASSWORD}", file, name)
        yield address, log


def in_the_network(*arguments: str | Path) -> None:
    """Runs this file as a program where the servers are."""
    kube.run("nsenter", f"--net={hub.NETWORK}", sys.executable, __file__, *arguments)


def signed(method: str, host: str, path: str, moment: str = "", key: str = KEY, secret: str = SECRET) -> str:
    """An address with a signature of version 4 in its query, which is good for an hour."""
    moment = moment or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{moment[:8]}/us-east-1/s3/aws4_request"
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": "3600",
        "X-Amz-SignedHeaders": "host",
    }
    query = urllib.parse.urlencode(fields, quote_via=urllib.parse.quote, safe="")
    request = "\n".join([method, path, query, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"])
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    digest = f"AWS4{secret}".encode()
    for part in [*scope.split("/"), text]:
        digest = hmac.digest(digest, part.encode(), "sha256")
    return f"http://{host}{path}?{query}&X-Amz-Signature={digest.hex()}"


def put(url: str, file: str) -> None:
    with Path(file).open("rb") as content:
        size = str(Path(file).stat().st_size)
        send("PUT", url, content, {"Content-Length": size, "Content-Type": "application/octet-stream"})


def push(url: str, login: str, file: str, name: str) -> None:
    """Uploads the file and a description as blobs, and the manifest that holds them together."""
    authorization = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    base = f"{url}/v2/{REPOSITORY}"

    def blob(content: bytes | BinaryIO, size: int, digest: str) -> dict[str, Any]:
        place = send("POST", f"{base}/blobs/uploads/", b"", authorization)
        place = urllib.parse.urljoin(base, place)
        headers = authorization | {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        send("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", content, headers)
        return {"digest": digest, "size": size}

    with Path(file).open("rb") as content:
        digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
        content.seek(0)
        weights = blob(content, Path(file).stat().st_size, digest)
    description = blob(b"{}", 2, f"sha256:{hashlib.sha256(b'{}').hexdigest()}")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": {"mediaType": "application/vnd.cncf.model.config.v1+json", **description},
        "layers": [
            {
                "mediaType": "application/vnd.cncf.model.weight.v1.raw",
                **weights,
                "annotations": {"org.cncf.model.filepath": name},
            }
        ],
    }
    send("PUT", f"{base}/manifests/1", json.dumps(manifest).encode(), authorization | {"Content-Type": kind})


def send(method: str, url: str, content: bytes | BinaryIO, headers: dict[str, str]) -> str:
    """Sends a request that has to succeed, and gives back where the answer leads to."""
    request = urllib.request.Request(url, data=content, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers.get("Location", "")


if __name__ == "__main__":
    {"put": put, "push": push}[sys.argv[1]](*sys.argv[2:])
