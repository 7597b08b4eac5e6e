"""Starts the programs that are measured, talks to them, and ends every one of them, however the run ends."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

PATIENCE = 300  # seconds until a server has to answer
LEFT = 25  # lines of a program's own words that an error repeats

_running: list[subprocess.Popen] = []


class Failed(Exception):
    """A program did not do what it was started for; the message says which, and how it can be found out why."""


def end(process: subprocess.Popen) -> None:
    """Ends a process by its id, and waits until it has."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process in _running:
        _running.remove(process)


def end_all() -> None:
    for process in list(_running):
        end(process)


def end_with_this_process() -> None:
    """From here on, a signal that ends this process ends those that it has started as well."""

    def leave(number: int, _: Any) -> NoReturn:
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    atexit.register(end_all)


def on_cores(cores: list[int] | None, command: list[str]) -> list[str]:
    """The command, kept to some cores."""
    return command if cores is None else ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]


def start(command: list[str], log: Path, **options: Any) -> subprocess.Popen:
    """Starts a program that is ended with this one, and writes its messages into a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as messages:
        options = {"stdin": subprocess.DEVNULL, "stdout": messages, **options}
        process = subprocess.Popen(command, stderr=messages, **options)
    _running.append(process)
    return process


def run(command: list[str], log: Path) -> str:
    """Runs a program to its end and returns what it wrote to standard output."""
    process = start(command, log, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate()
    _running.remove(process)
    if process.returncode != 0:
        raise Failed(f"{Path(command[0]).name} ended with status {process.returncode}: {' '.join(command)}\n{tail(log)}")
    return output


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LEFT:]
    return "\n".join([f"the end of {log}:", *(f"  | {line[:300]}" for line in lines)])


class Commands:
    """A program that answers each line with a line of JSON."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.name = Path(command[0]).name
        self.log = log
        self.process = start(command, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def answer(self) -> dict[str, Any]:
        """The next line that it writes."""
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended\n{tail(self.log)}")
        return json.loads(line)

    def ask(self, line: str) -> dict[str, Any]:
        try:
            self.process.stdin.write(line + "\n")
        except BrokenPipeError:
            raise Failed(f"{self.name} has ended\n{tail(self.log)}") from None
        return self.answer()

    def close(self) -> None:
        end(self.process)


class Server:
    """An HTTP server on a free port of this machine."""

    def __init__(self, name: str, command: list[str], port: int, log: Path, health: str) -> None:
        self.name = name
        self.log = log
        self.address = f"127.0.0.1:{port}"
        self.process = start(command, log)
        self._wait(health)

    def _wait(self, health: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.get(health)
                return
            except (OSError, urllib.error.HTTPError):
                time.sleep(0.1)
        raise Failed(f"{self.name} does not serve\n{tail(self.log)}")

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as response:
            return json.load(response)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{self.address}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failed(f"{self.name} has ended\n{tail(self.log)}")

    def close(self) -> None:
        end(self.process)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def busy_core(core: int, log: Path) -> Iterator[None]:
    """A program beside that takes all of a core that it can get."""
    burner = start(on_cores([core], ["sh", "-c", "while :; do :; done"]), log)
    try:
        time.sleep(0.5)
        yield
    finally:
        end(burner)


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))
