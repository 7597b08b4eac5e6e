"""From what the rounds measured to rows, a table and a JSON file."""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """One comparison. Each round adds a pair of figures that were taken one right after the other."""

    name: str
    peer_name: str
    unit: str
    target: float
    less_is_better: bool = False
    # What bounds the figure, such as "memory bandwidth", and each round's shares of it.
    bound: str | None = None
    ours: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    ours_of_bound: list[float] = field(default_factory=list)
    peer_of_bound: list[float] = field(default_factory=list)
    note: str = ""

    def add(self, ours: float, peer: float, of_bound: Callable[[float], float] | None = None) -> None:
        """Adds a round; `of_bound` makes a figure a share of the bound as it was measured in this round."""
        self.ours.append(ours)
        self.peer.append(peer)
        if of_bound:
            self.ours_of_bound.append(of_bound(ours))
            self.peer_of_bound.append(of_bound(peer))

    def ratios(self) -> list[float]:
        """Above 1: ours is better."""
        pairs = zip(self.ours, self.peer, strict=True)
        return [peer / ours if self.less_is_better else ours / peer for ours, peer in pairs]

    def ratio(self) -> float:
        return statistics.median(self.ratios())

    def reached(self) -> bool:
        return self.ratio() >= self.target

    def as_json(self) -> dict[str, Any]:
        ratios = self.ratios()
        content: dict[str, Any] = {
            "name": self.name,
            "ours": rounded(statistics.median(self.ours)),
            "peer": rounded(statistics.median(self.peer)),
            "peer_name": self.peer_name,
            "unit": self.unit,
            "ratio": rounded(self.ratio()),
            "target": self.target,
            "reached": self.reached(),
            "spread": [rounded(min(ratios)), rounded(max(ratios))],
            "rounds": len(ratios),
        }
        if self.bound:
            content["bound"] = self.bound
        if self.ours_of_bound:
            content["ours_of_bound"] = rounded(statistics.median(self.ours_of_bound))
            content["peer_of_bound"] = rounded(statistics.median(self.peer_of_bound))
        if self.note:
            content["note"] = self.note
        return content


def rounded(number: float) -> float:
    """To four significant digits."""
    return float(f"{number:.4g}")


def shown(number: float) -> str:
    """As people write a figure of its size."""
    if number >= 1000:
        return f"{number:,.0f}"
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def table(rows: list[Row]) -> str:
    """A Markdown table that is also easy to read in a terminal."""
    lines = [["what", "ours", "peer", "unit", "ratio [least–most]", "target", "ours of bound", "peer of bound"]]
    lines += [cells(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def cells(row: Row) -> list[str]:
    ratios = row.ratios()
    of_bound = [f"{statistics.median(shares):.0%}" if shares else "" for shares in (row.ours_of_bound, row.peer_of_bound)]
    return [
        row.name,
        shown(statistics.median(row.ours)),
        f"{shown(statistics.median(row.peer))} {row.peer_name}",
        row.unit,
        f"{row.ratio():.2f} [{min(ratios):.2f}–{max(ratios):.2f}]",
        f"{row.target:g}" + ("" if row.reached() else " **missed**"),
        of_bound[0],
        of_bound[1],
    ]


def write(path: Path, rows: list[Row], about: dict[str, Any]) -> None:
    """Writes everything into a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about | {"rows": [row.as_json() for row in rows]}, indent=2) + "\n")
