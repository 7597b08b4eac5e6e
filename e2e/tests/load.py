"""Requests to a served model: one, or a steady stream of them from threads, and faults injected into the server."""

import contextlib
import json
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

# The variable that lets a server take injected faults.
FAULTS_ALLOWED = {"env": [{"name": "CANDLEPOWER_ALLOW_FAULT_INJECTION", "value": "true"}]}


def call(method: str, url: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Sends JSON, and gives back the status and the text of the answer."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def chat(url: str, model: str, tokens: int = 8, headers: dict[str, str] | None = None) -> int:
    """Asks for an answer of some tokens, and gives back the status."""
    body = {"model": model, "messages": [{"role": "user", "content": "What is gravity?"}], "max_tokens": tokens}
    return call("POST", f"{url}/v1/chat/completions", body, headers)[0]


def traced_chat(url: str, model: str) -> tuple[str, str]:
    """Asks as part of a trace of one's own; gives back the trace's id and the caller's span id."""
    trace_id, caller = secrets.token_hex(16), secrets.token_hex(8)
    assert chat(url, model, headers={"traceparent": f"00-{trace_id}-{caller}-01"}) == 200
    return trace_id, caller


def inject(url: str, **faults: Any) -> None:
    """Replaces the server's injected faults; without any, takes them away."""
    status, text = call("PUT", f"{url}/debug/faults", faults)
    assert status in (200, 204), f"{status} {text}"


@contextlib.contextmanager
def steady(url: str, model: str, clients: int = 2, tokens: int = 8) -> Iterator[list[int]]:
    """Clients that ask one question after the other; the statuses of the answers are in the list."""
    over = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        while not over.is_set():
            try:
                statuses.append(chat(url, model, tokens))
            except OSError:  # a pod went away, which some tests are about
                over.wait(0.5)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=60)
