"""Watches the alerts of one LLMDeployment everywhere at once, and notes when each came and went."""

import contextlib
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import kube
import monitoring

COLUMNS = [
    "fault injected", "pending in Prometheus", "firing in Prometheus", "in Alertmanager", "in status.alerts",
    "fault removed", "gone from Prometheus", "gone from Alertmanager", "gone from status.alerts",
]  # fmt: skip


class Timeline:
    """When what was first seen, of each alert."""

    def __init__(self, prometheus: monitoring.Prometheus, namespace: str, name: str) -> None:
        self.prometheus, self.namespace, self.name = prometheus, namespace, name
        self.seen: dict[str, dict[str, float]] = {}
        self.over = threading.Event()

    def note(self, alert: str, column: str) -> None:
        self.seen.setdefault(alert, {}).setdefault(column, time.time())

    def observe(self) -> None:
        """Looks once."""
        states = self.prometheus.alerts(self.namespace, self.name)
        places = {
            "Prometheus": {alert for alert, state in states.items() if state == "firing"},
            "Alertmanager": monitoring.alertmanager(self.namespace, self.name),
            "status.alerts": monitoring.firing(self.name, self.namespace),
        }
        for alert, state in states.items():
            if state == "pending":
                self.note(alert, "pending in Prometheus")
        for place, alerts in places.items():
            column = "firing in Prometheus" if place == "Prometheus" else f"in {place}"
            for alert in alerts:
                self.note(alert, column)
            for alert, columns in list(self.seen.items()):
                if alert not in alerts and column in columns and "fault removed" in columns:
                    self.note(alert, f"gone from {place}")

    def run(self) -> None:
        while not self.over.wait(1):
            with contextlib.suppress(kube.Refused, ValueError, KeyError):  # Prometheus reloads
                self.observe()

    def __enter__(self) -> "Timeline":
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join(timeout=60)

    def wait_for(self, alert: str, columns: list[str], seconds: float = 90) -> None:
        def look() -> tuple[bool, dict[str, list[str]]]:
            return set(columns) <= set(self.seen.get(alert, {})), {a: list(c) for a, c in self.seen.items()}

        kube.wait_for(f"{alert}: {', '.join(columns)}", look, seconds)

    def write(self, file: Path, alerts: list[str]) -> None:
        """A table of the alerts, in seconds since the fault."""
        lines = [f"| alert | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 1) + "|"]
        for alert in alerts:
            columns = self.seen.get(alert, {})
            began = columns.get(COLUMNS[0], 0)
            cells = [f"+{columns[c] - began:.0f} s" if c in columns else "-" for c in COLUMNS[1:]]
            start = datetime.fromtimestamp(began, UTC).strftime("%H:%M:%S")
            lines.append(f"| `{alert}` | {start} | {' | '.join(cells)} |")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
