"""Reads the API server's audit log: every request of the operator and of the clients, counted once each."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

OPERATOR = "system:serviceaccount:candlepower-system:candlepower"
CLIENT = "write-objects"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@dataclass
class Request:
    """A request, at the time at which the API server received it and at that at which it had answered."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    began: float
    ended: float

    def is_write(self) -> bool:
        """Leases are left out: whoever holds one writes it every few seconds."""
        return self.verb in WRITES and self.resource != "leases"


@dataclass
class Log:
    """The log so far; it grows while it is read."""

    path: Path
    requests: list[Request] = field(default_factory=list)
    _offset: int = 0
    _seen: set[str] = field(default_factory=set)

    def read(self) -> list[Request]:
        """Everything until now."""
        if self.path.exists():
            with self.path.open("rb") as lines:
                lines.seek(self._offset)
                for line in lines:
                    if not line.endswith(b"\n"):
                        break  # the rest of it comes later
                    self._offset += len(line)
                    self._take(json.loads(line))
        return self.requests

    def _take(self, event: dict[str, Any]) -> None:
        # A watch is told of when it begins and when it ends.
        if event["auditID"] in self._seen:
            return
        self._seen.add(event["auditID"])
        about = event.get("objectRef", {})
        resource = about.get("resource", event["requestURI"].split("?")[0])
        subresource = about.get("subresource")
        self.requests.append(
            Request(
                user=event["user"]["username"],
                verb=event["verb"],
                resource=f"{resource}/{subresource}" if subresource else resource,
                namespace=about.get("namespace", ""),
                name=about.get("name", ""),
                code=event.get("responseStatus", {}).get("code", 0),
                began=seconds(event["requestReceivedTimestamp"]),
                ended=seconds(event["stageTimestamp"]),
            )
        )

    def of(self, user: str, since: float = 0, until: float = float("inf")) -> list[Request]:
        """The requests of a user that the API server received between two times."""
        return [r for r in self.read() if r.user == user and since <= r.began < until]


def seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def first(requests: list[Request], matches: Callable[[Request], bool], at: Callable[[Request], float]) -> dict[str, float]:
    """For each name the first time of a request that matches and was accepted."""
    found: dict[str, float] = {}
    for request in requests:
        if matches(request) and 200 <= request.code < 300:
            found[request.name] = min(at(request), found.get(request.name, float("inf")))
    return found


def described(requests: list[Request]) -> dict[str, int]:
    """How many there were of each kind, the most frequent first."""
    return dict(Counter(f"{request.verb} {request.resource} {request.code}" for request in requests).most_common())


def writes(requests: list[Request]) -> Iterator[Request]:
    return (request for request in requests if request.is_write())
