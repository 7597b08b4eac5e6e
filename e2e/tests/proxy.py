"""A slow line between a client and a server."""

import contextlib
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator

# Small enough that a reader that pauses holds up the sender soon.
BUFFER = 4096
# About one event of a stream.
PIECE = 256


@contextlib.contextmanager
def slow(url: str, request_delay: float = 0, answer_delay: float = 0) -> Iterator[str]:
    """The address of a proxy in front of `url` that holds back each request, or each piece of an answer, by some seconds."""
    parts = urllib.parse.urlsplit(url)
    server = (parts.hostname or "", parts.port or 80)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener, server, request_delay, answer_delay), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        # A thread that waits for connections keeps the socket open until it is woken.
        listener.shutdown(socket.SHUT_RDWR)


def accept(listener: socket.socket, server: tuple[str, int], request_delay: float, answer_delay: float) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            upstream = socket.socket()
            upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            upstream.connect(server)
            threading.Thread(target=relay, args=(client, upstream, 65536, request_delay), daemon=True).start()
            threading.Thread(target=relay, args=(upstream, client, PIECE, answer_delay), daemon=True).start()


def relay(source: socket.socket, sink: socket.socket, piece: int, delay: float) -> None:
    """Passes on what comes, piece by piece, until either side ends."""
    sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        while data := source.recv(piece):
            if delay:
                time.sleep(delay)
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
