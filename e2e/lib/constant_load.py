"""Clients that ask one question after the other until their standard input ends; then what became of the requests, as JSON.

usage: constant_load.py URL MODEL

It is to be run where Services have their addresses, in the cluster's network namespace: a forwarded port always leads to
the same pod, and could not tell that another one answers. Nothing is sent twice, so each request that a server or a
connection fails is lost. Half of the clients keep their connections, as the usual libraries do; half of them stream.
"""

import json
import sys
import threading

import urllib3

TOKENS = 16


class Client(threading.Thread):
    def __init__(self, url: str, model: str, over: threading.Event, streams: bool, keeps: bool) -> None:
        super().__init__(daemon=True)
        self.url, self.model, self.over = f"{url}/v1/chat/completions", model, over
        self.streams, self.keeps = streams, keeps
        self.answered = 0
        self.lost: list[str] = []
        self.pool = urllib3.PoolManager(maxsize=1, timeout=urllib3.Timeout(60), retries=False)

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self.ask()
                self.answered += 1
            except Exception as error:  # whatever it was, the request has no answer
                kind = f"{'streamed' if self.streams else 'whole'}, connection {'kept' if self.keeps else 'new'}"
                self.lost.append(f"{kind}: {error!r}")

    def ask(self) -> None:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": "What is gravity?"}],
            "max_tokens": TOKENS,
            "stream": self.streams,
        }
        headers = {"Content-Type": "application/json"}
        if not self.keeps:
            self.pool.clear()
        response = self.pool.request("POST", self.url, body=json.dumps(body), headers=headers)
        text = response.data.decode()
        if response.status != 200:
            raise ValueError(f"{response.status} {text}")
        if not (text.endswith("data: [DONE]\n\n") if self.streams else json.loads(text)["choices"]):
            raise ValueError(f"cut off: {text[-200:]}")
        if '"error"' in text:
            raise ValueError(text[-400:])


def main() -> None:
    url, model = sys.argv[1:]
    over = threading.Event()
    clients = [Client(url, model, over, streams, keeps) for streams in (False, True) for keeps in (False, True)]
    for client in clients:
        client.start()
    sys.stdin.read()
    over.set()
    for client in clients:
        client.join(timeout=60)
    print(json.dumps({
        "answered": [client.answered for client in clients],
        "lost": [lost for client in clients for lost in client.lost],
        "hang": sum(client.is_alive() for client in clients),
    }))


if __name__ == "__main__":
    main()
