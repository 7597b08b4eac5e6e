"""Looks like the Hugging Face hub and a web server, for pods of the local cluster.

As a program: hub.py FILE LOG ADDRESS PORT [CERTIFICATE KEY] serves FILE as hf://tests/tiny and hf://tests/gated, which wants the
token `right`, and at /files/model.gguf. hf://tests/full is a tiny model in full precision, hf://tests/huge fits on no disk. LOG gets a
line of JSON for each request.
"""

import contextlib
import hashlib
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# The node's address in the cluster's network, which pods reach.
ADDRESS = "10.201.0.1"
NETWORK = "/run/netns/candlepower"
COMMIT = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
NAME = "model.gguf"
# A model in full precision, made for tests of numbers: it says nothing that makes sense.
TINY = Path(__file__).resolve().parents[2] / "server" / "tests" / "models" / "qwen3"
TOKENIZER = {"model": {"type": "BPE", "vocab": {"w": 0, "a": 1, "r": 2, "m": 3}, "merges": []}, "added_tokens": []}
# A model that is there at once would show no progress.
BYTES_PER_SECOND = 25_000_000
PIECE = 1_000_000
# No disk has room for it.
EXBIBYTE = 1 << 60


def full_files() -> dict[str, bytes]:
    """The files of hf://tests/full, the same at each revision."""
    files = {name: (TINY / name).read_bytes() for name in ("config.json", "model.safetensors")}
    return files | {"tokenizer.json": json.dumps(TOKENIZER).encode()}


class Hub:
    """A running look-alike."""

    def __init__(self, log: Path, port: int, scheme: str) -> None:
        self.log = log
        self.url = f"{scheme}://{ADDRESS}:{port}"

    def requests(self, word: str = "") -> list[dict[str, Any]]:
        """The requests so far whose paths hold `word`."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [request for request in map(json.loads, lines) if word in request["path"]]


@contextlib.contextmanager
def running(file: Path, folder: Path, port: int, certificate: tuple[Path, Path] | None = None) -> Iterator[Hub]:
    """Serves `file` to the cluster's pods; the log is in `folder`."""
    log = folder / f"requests-{port}.log"
    command = ["nsenter", f"--net={NETWORK}", sys.executable, __file__, file, log, ADDRESS, port, *(certificate or ())]
    process = subprocess.Popen([str(part) for part in command])
    try:
        wait_until_it_listens(port, process)
        yield Hub(log, port, "https" if certificate else "http")
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    probe = f"import socket; socket.create_connection(('{ADDRESS}', {port}), 1)"
    for _ in range(50):
        assert process.poll() is None, f"what should listen on port {port} has ended"
        command = ["nsenter", f"--net={NETWORK}", sys.executable, "-c", probe]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError(f"nothing listens on port {port}")


def make_certificate(folder: Path, subject: str = f"IP:{ADDRESS}") -> tuple[Path, Path]:
    """A certificate for a subject, such as the look-alike's address, that signs itself, and its key."""
    certificate, key = folder / "hub.pem", folder / "hub.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-subj", "/CN=hub", "-addext", f"subjectAltName={subject}", "-keyout", str(key), "-out", str(certificate),
        ],
        check=True, capture_output=True,
    )
    return certificate, key


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does, as far as the server asks."""

    protocol_version = "HTTP/1.1"
    file: Path
    sha256: str
    full: dict[str, bytes]
    log: Path
    lock = threading.Lock()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        status = self.answer(path)
        line = json.dumps({"path": path, "status": status, "range": self.headers.get("Range")})
        with self.lock, self.log.open("a") as log:
            log.write(line + "\n")

    def answer(self, path: str) -> int:
        listed = re.fullmatch(r"/api/models/tests/(tiny|gated|huge|full)/revision/(.+)", path)
        file = re.fullmatch(rf"/(?:files|tests/(tiny|gated)/resolve/{COMMIT})/{NAME}", path)
        found = listed or file
        if found and found[1] == "gated" and self.headers.get("Authorization") != "Bearer right":
            return self.refuse(401, "Invalid username or password.")
        part = path.removeprefix(f"/tests/full/resolve/{COMMIT}/")
        if part in self.full:
            return self.send(self.full[part])
        if listed and listed[1] == "full":
            siblings = [{"rfilename": name, "size": len(content)} for name, content in self.full.items()]
            return self.tell({"sha": COMMIT, "siblings": siblings})
        if listed and listed[2] in ("main", "v1"):
            size = EXBIBYTE if listed[1] == "huge" else self.file.stat().st_size
            large = {"sha256": self.sha256, "size": size}
            sibling = {"rfilename": NAME, "size": large["size"], "lfs": large}
            return self.tell({"sha": COMMIT, "siblings": [{"rfilename": "README.md", "size": 1}, sibling]})
        return self.send_file() if file else self.refuse(404, "Entry not found")

    def refuse(self, status: int, message: str) -> int:
        self.send_response(status)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return status

    def tell(self, what: dict[str, Any]) -> int:
        return self.send(json.dumps(what).encode())

    def send(self, body: bytes) -> int:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return 200

    def send_file(self) -> int:
        size = self.file.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{self.sha256}"')
        self.send_header("Content-Length", str(size - first))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        self.end_headers()
        with contextlib.suppress(OSError), self.file.open("rb") as file:
            file.seek(first)
            while piece := file.read(PIECE):
                self.wfile.write(piece)
                time.sleep(PIECE / BYTES_PER_SECOND)
        return 206 if wanted else 200

    def log_message(self, format: str, *arguments: Any) -> None:
        """The log is a file of our own."""


def main(file: str, log: str, address: str, port: str, *certificate: str) -> None:
    Handler.file, Handler.log = Path(file), Path(log)
    Handler.sha256 = hashlib.sha256(Handler.file.read_bytes()).hexdigest()
    Handler.full = full_files()
    server = ThreadingHTTPServer((address, int(port)), Handler)
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
