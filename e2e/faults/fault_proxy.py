"""A proxy between an operator and the API server: it notes each request, and answers, delays or cuts it as a test asks.

The operator speaks plain HTTP to it, and it shows the API server the operator's certificate. A watch passes event by event.
"""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

API_SERVER = ("127.0.0.1", 6443)
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
ALWAYS = 10**9
# What is true of one connection only, and not passed on.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
REASONS = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}
END_OF_CHUNKS = b"0\r\n\r\n"


def _status(code: int, details: dict | None = None) -> dict:
    """What the API server says of a request that fails."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"injected: {code}",
        "reason": REASONS.get(code, "Unknown"),
        "details": details or {},
        "code": code,
    }


# The event by which a watch is told that its resource version is too old.
EXPIRED = json.dumps({"type": "ERROR", "object": _status(410)}).encode() + b"\n"


# ---- What a test can ask for ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """The proxy answers in the API server's place."""

    code: int
    retry_after: int | None = None


@dataclass(frozen=True)
class Delay:
    """The request is passed on later."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """The connection ends without an answer: before the API server has seen the request, or after it has acted."""

    after: bool = False


@dataclass(frozen=True)
class Expired:
    """A watch begins and is told at once that its resource version is too old."""


Action = Answer | Delay | Cut | Expired


@dataclass
class Request:
    """A request of the operator's; its resource is as in `deployments` or `llmdeployments/status`."""

    verb: str
    resource: str
    namespace: str
    name: str
    at: float = field(default_factory=time.monotonic)
    # When it went on to the API server, if it did.
    passed_at: float | None = None
    # The status that the operator was answered with, if it was.
    status: int | None = None

    def is_write(self) -> bool:
        """Whether it changes anything but the lease, which its holder writes every other second."""
        return self.verb in WRITES and self.resource != "leases"


@dataclass
class Fault:
    """What happens to the next requests of a kind. `hits` are those that it has happened to."""

    action: Action
    verb: str
    resource: str
    name: str
    times: int
    hits: list[Request] = field(default_factory=list)

    def matches(self, request: Request) -> bool:
        pairs = ((self.verb, request.verb), (self.resource, request.resource), (self.name, request.name))
        return len(self.hits) < self.times and all(wanted in ("", found) for wanted, found in pairs)


class Proxy:
    """In front of the API server, at `address`, with the certificate of the operator in a folder."""

    def __init__(self, credentials: Path) -> None:
        self.requests: list[Request] = []
        self._faults: list[Fault] = []
        self._streams: set[_Stream] = set()
        self._is_away = False
        self._lock = threading.Lock()
        self._tls = ssl.create_default_context(cafile=str(credentials / "ca.crt"))
        # Python 3.13 asks more of an authority's certificate than the cluster's has.
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._tls.load_cert_chain(credentials / "operator.crt", credentials / "operator.key")
        self._server = _Server(self)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.cut_streams()

    def add(self, action: Action, verb: str = "", resource: str = "", name: str = "", times: int = 1) -> Fault:
        """Has something happen to the next requests of a kind; an empty word stands for every one."""
        fault = Fault(action, verb, resource, name, times)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """From here on it makes no more mistakes."""
        with self._lock:
            self._faults.clear()
        self._is_away = False

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Meanwhile there is no API server: no connection is answered, and those that were open end."""
        self._is_away = True
        self.cut_streams()
        try:
            yield
        finally:
            self._is_away = False

    def cut_streams(self) -> None:
        """Ends all watches in the middle."""
        for stream in self._open_streams(""):
            stream.cut()

    def expire_watches(self, resource: str) -> int:
        """Tells the watches of a resource that their resource version is too old, and how many these were."""
        streams = self._open_streams(resource)
        return sum(stream.end_with(EXPIRED) for stream in streams)

    def of(self, verb: str = "", resource: str = "", name: str = "", since: float = 0) -> list[Request]:
        """The requests of a kind since a time."""
        kind = Fault(Delay(0), verb, resource, name, ALWAYS)
        return [request for request in list(self.requests) if request.at >= since and kind.matches(request)]

    def writes(self, since: float = 0) -> list[Request]:
        """Everything that was to change something since a time, and was passed on."""
        return [r for r in list(self.requests) if r.is_write() and (r.passed_at or 0) >= since and r.passed_at]

    def _open_streams(self, resource: str) -> list["_Stream"]:
        with self._lock:
            return [stream for stream in self._streams if resource in ("", stream.request.resource)]

    def _take(self, request: Request) -> Action | None:
        """Notes a request, and says what is to happen to it."""
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.matches(request):
                    fault.hits.append(request)
                    return fault.action
        return None

    @contextlib.contextmanager
    def _streaming(self, stream: "_Stream") -> Iterator[None]:
        with self._lock:
            self._streams.add(stream)
        try:
            yield
        finally:
            with self._lock:
                self._streams.discard(stream)


# ---- How it does that -------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that breaks is what all this is about."""


class _Connection(BaseHTTPRequestHandler):
    """One connection of the operator's, on which its requests follow each other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = asked(self.command, self.path, body)
        action = proxy._take(request)
        if proxy._is_away:
            action = Cut()
        match action:
            case Delay(seconds):
                time.sleep(seconds)
            case Answer():
                self._answer(request, action)
                return
            case Expired():
                self._begin(200, [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")])
                self._send(_chunk(EXPIRED) + END_OF_CHUNKS)
                request.status = 200
                return
            case Cut(after=False):
                self._cut()
                return
        self._pass_on(proxy, request, body, cut=isinstance(action, Cut))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _answer(self, request: Request, answer: Answer) -> None:
        """As the API server would."""
        details = {"retryAfterSeconds": answer.retry_after} if answer.retry_after else {}
        status = _status(answer.code, details)
        content = json.dumps(status).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        if answer.retry_after:
            headers.append(("Retry-After", str(answer.retry_after)))
        request.status = answer.code
        self._begin(answer.code, headers, content)

    def _pass_on(self, proxy: Proxy, request: Request, body: bytes, cut: bool) -> None:
        """One connection to the API server for each request, as if they ended together."""
        upstream = http.client.HTTPSConnection(*API_SERVER, context=proxy._tls)
        try:
            headers = {key: value for key, value in self.headers.items() if key.lower() not in HOP_BY_HOP}
            request.passed_at = time.monotonic()
            upstream.request(self.command, self.path, body or None, headers)
            ends = (upstream.sock, self.connection)
            response = upstream.getresponse()
            if cut:
                response.read()
                self._cut()
            elif response.chunked:
                self._stream(proxy, _Stream(request, self._send, *ends), response)
            else:
                content = response.read()
                request.status = response.status
                kept = _kept(response)
                self._begin(response.status, [*kept, ("Content-Length", str(len(content)))], content)
        except (OSError, http.client.HTTPException, ValueError):
            self._cut()
        finally:
            upstream.close()

    def _stream(self, proxy: Proxy, stream: "_Stream", response: http.client.HTTPResponse) -> None:
        """Piece by piece, as it comes, until either side or a test ends it."""
        stream.request.status = response.status
        self._begin(response.status, [*_kept(response), ("Transfer-Encoding", "chunked")])
        with proxy._streaming(stream):
            while data := response.read1(65536):
                stream.pass_on(data)
        if not stream.end():
            self.close_connection = True

    def _begin(self, code: int, headers: list[tuple[str, str]], content: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {code} {http.client.responses.get(code, '')}", *(f"{key}: {value}" for key, value in headers)]
        self._send("\r\n".join([*lines, "", ""]).encode("latin-1") + content)

    def _send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def _cut(self) -> None:
        self.close_connection = True
        _shut(self.connection)


class _Stream:
    """An answer on its way, into which a test may speak between two lines."""

    def __init__(self, request: Request, send: Callable[[bytes], None], *ends: socket.socket) -> None:
        self.request = request
        self._send = send
        self._ends = ends
        self._lock = threading.Lock()
        self._is_open = True
        self._is_between_lines = True

    def pass_on(self, data: bytes) -> None:
        with self._lock:
            if not self._is_open:
                raise ConnectionAbortedError
            self._send(_chunk(data))
            self._is_between_lines = data.endswith(b"\n")

    def end(self) -> bool:
        """The API server has said everything. False where a test was faster."""
        with self._lock:
            was_open, self._is_open = self._is_open, False
            if was_open:
                self._send(END_OF_CHUNKS)
            return was_open

    def end_with(self, line: bytes) -> bool:
        """Says this and no more; False where it had ended already."""
        while True:
            with self._lock:
                if not self._is_open:
                    return False
                if self._is_between_lines:
                    self._is_open = False
                    with contextlib.suppress(OSError):
                        self._send(_chunk(line) + END_OF_CHUNKS)
                    _shut(self._ends[0])
                    return True
            time.sleep(0.001)

    def cut(self) -> None:
        with self._lock:
            self._is_open = False
            for end in self._ends:
                _shut(end)


def asked(method: str, target: str, body: bytes = b"") -> Request:
    """What a request asks of the API server, in its own words. The name of what is created is in its body."""
    url = urlsplit(target)
    parts = [part for part in url.path.split("/") if part]
    # The core API has a version, all others have a group before it.
    rest = parts[2:] if parts[:1] == ["api"] else parts[3:] if parts[:1] == ["apis"] else []
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, sub = [*rest, "", "", ""][:3]
    watches = parse_qs(url.query).get("watch", [""])[-1] in ("true", "1")
    verb = {
        "GET": "watch" if watches else "get" if name else "list",
        "POST": "create",
        "PUT": "update",
        "PATCH": "patch",
        "DELETE": "delete" if name else "deletecollection",
    }[method]
    if verb == "create":
        name = name or json.loads(body)["metadata"].get("name", "")
    return Request(verb, f"{resource}/{sub}" if sub else resource, namespace, name)


def _kept(response: http.client.HTTPResponse) -> list[tuple[str, str]]:
    return [(key, value) for key, value in response.getheaders() if key.lower() not in HOP_BY_HOP]


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        end.shutdown(socket.SHUT_RDWR)
