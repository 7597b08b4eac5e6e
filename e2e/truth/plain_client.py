"""A second opinion: one user after the other, with nothing but a socket and a clock.

usage: plain_client.py HOST:PORT MODEL OUTPUT-TOKENS SECONDS
Prints a JSON list of [TTFT, TPOT] in milliseconds, by the same formulas as everywhere.
"""

import json
import socket
import sys
import time


def ask(address: str, model: str, tokens: int, number: int) -> list[float]:
    host, port = address.split(":")
    message = {"role": "user", "content": f"tell me more about number {number}"}
    body = json.dumps({"model": model, "messages": [message], "max_tokens": tokens, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = time.perf_counter()
        connection.sendall(head.encode() + body)
        times, rest = [], b""
        while piece := connection.recv(65536):
            now = time.perf_counter()
            *lines, rest = (rest + piece).split(b"\n")
            times += [now] * sum(b'"content"' in line for line in lines)
            if any(b"[DONE]" in line for line in lines):
                break
    return [(times[0] - sent) * 1e3, (times[-1] - times[0]) / (len(times) - 1) * 1e3]


def main(address: str, model: str, tokens: int, seconds: float) -> None:
    end, seen = time.monotonic() + seconds, []
    ask(address, model, tokens, 0)
    while time.monotonic() < end:
        seen.append(ask(address, model, tokens, len(seen) + 1))
    print(json.dumps(seen))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
