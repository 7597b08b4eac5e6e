"""Measures how the server starts: from the start of its process to the first token, and the memory it takes then.

usage: start_server.py SERVER-BINARY MODEL.gguf [RUNS]
Prints one JSON object: seconds (of each run), and of the last run rss, weights, kv_cache (bytes), threads.
"""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

CONTEXT, BATCH = 2048, 8
BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "What is gravity?"}],
    "max_tokens": 16,
    "temperature": 0,
    "stream": True,
}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_token(url: str, process: subprocess.Popen) -> None:
    """Asks until the server answers, and returns with the first piece of text."""
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(BODY).encode(), {"Content-Type": "application/json"}
    )
    while process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                for line in response:
                    if re.search(rb'"content": ?"[^"]', line):
                        return
        except urllib.error.HTTPError as error:
            if error.code != 503:
                sys.exit(f"HTTP {error.code}: {error.read().decode()}")
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.002)
    sys.exit(f"the server ended with status {process.returncode}")


def memory(url: str) -> dict[str, float]:
    """What the server says of itself."""
    with urllib.request.urlopen(f"{url}/health/startup", timeout=10) as response:
        model = json.load(response)["model"]
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        rss = re.search(r"^process_resident_memory_bytes (\S+)$", response.read().decode(), re.MULTILINE)
    return {"rss": float(rss[1]) if rss else 0, "weights": model["weightsBytes"], "kv_cache": model["kvCacheBytes"]}


def run(binary: str, model: str) -> tuple[float, dict[str, Any]]:
    """Starts the server once."""
    port = free_port()
    options = ["--model", model, "--served-name", "m", "--host", "127.0.0.1", "--port", str(port)]
    options += ["--max-context-length", str(CONTEXT), "--max-batch-size", str(BATCH), "--log-filter", "warn"]
    url = f"http://127.0.0.1:{port}"
    began = time.monotonic()
    process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    try:
        first_token(url, process)
        seconds = time.monotonic() - began
        return seconds, memory(url)
    finally:
        process.terminate()
        process.wait(timeout=30)


def main(binary: str, model: str, runs: int) -> None:
    with open(model, "rb") as file:  # into the file cache
        while file.read(1 << 24):
            pass
    results = [run(binary, model) for _ in range(runs)]
    print(json.dumps({"seconds": [seconds for seconds, _ in results], **results[-1][1]}))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 5)
