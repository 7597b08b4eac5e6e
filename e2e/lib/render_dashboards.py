"""Draws dashboards from a live Prometheus, or checks that each of their queries finds data.

usage: render_dashboards.py --prometheus URL [--namespace NS] [--llmdeployment NAME] [--out FOLDER | --check] [FILE...]

Without files it takes those in dashboards/. Only drawing needs matplotlib; --check needs Python alone.
"""

import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """What the reader of a dashboard would have chosen."""

    prometheus: str
    variables: dict[str, str]
    start: float
    end: float
    step: float


@dataclass(frozen=True)
class Series:
    """One line, slice or number, with its name."""

    name: str
    labels: dict[str, str]
    times: list[float]
    values: list[float]

    @property
    def last(self) -> float:
        return next((value for value in reversed(self.values) if value == value), float("nan"))


class QueryError(Exception):
    """Prometheus could not answer a query."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="dashboards (default: dashboards/*.json)")
    parser.add_argument("--prometheus", required=True, help="its address, such as http://localhost:9090")
    parser.add_argument("--namespace", default=".*", help="regular expression (default: all)")
    parser.add_argument("--llmdeployment", default=".*", help="regular expression (default: all)")
    parser.add_argument("--pod", default=".*", help="regular expression (default: all)")
    parser.add_argument("--operator", default=".*", help="the operator's namespace, a regular expression (default: all)")
    parser.add_argument("--range", type=float, default=900, help="seconds to show (default: 900)")
    parser.add_argument("--end", type=float, default=None, help="Unix time at which to end (default: now)")
    parser.add_argument("--rate-interval", default="1m", help="$__rate_interval (default: 1m)")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for the pictures (default: here)")
    parser.add_argument("--format", choices=["png", "svg"], default="png", help="of the pictures (default: png)")
    parser.add_argument("--check", action="store_true", help="draw nothing; fail where a query finds nothing")
    parser.add_argument(
        "--allow-empty", action="append", default=[], metavar="PREFIX",
        help="with --check: a query of a metric whose name begins so may find nothing; may be repeated",
    )  # fmt: skip
    return parser.parse_args()


def settings_of(options: argparse.Namespace) -> Settings:
    end = options.end or time.time()
    variables = {
        "__rate_interval": options.rate_interval,
        "__range": f"{int(options.range)}s",
        "namespace": options.namespace,
        "llmdeployment": options.llmdeployment,
        "pod": options.pod,
        "operator": options.operator,
    }
    address = options.prometheus if "://" in options.prometheus else f"http://{options.prometheus}"
    return Settings(address.rstrip("/"), variables, end - options.range, end, max(1.0, options.range / 240))


def main() -> int:
    options = arguments()
    settings = settings_of(options)
    files = options.files or sorted((ROOT / "dashboards").glob("*.json"))
    if not files:
        print("error: no dashboards; run 'make generate'", file=sys.stderr)
        return 2
    boards = [(file, json.loads(file.read_text())) for file in files]
    try:
        if options.check:
            return check(boards, settings, options.allow_empty)
        import board_drawing  # needs matplotlib, which a check does without

        options.out.mkdir(parents=True, exist_ok=True)
        for file, board in boards:
            picture = options.out / f"{file.stem}.{options.format}"
            board_drawing.draw(board, picture, lambda panel: series_of_panel(panel, settings))
            print(picture)
        return 0
    except QueryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def check(boards: list[tuple[Path, dict[str, Any]]], settings: Settings, allowed: list[str]) -> int:
    """Runs every query of every panel and reports those that find nothing."""
    found = missing = excused = 0
    for file, board in boards:
        for panel in panels_of(board):
            for target in panel["targets"]:
                if any(True for _ in query(target, settings)):
                    found += 1
                elif any(metric.startswith(tuple(allowed)) for metric in metrics_of(target["expr"])) and allowed:
                    excused += 1
                else:
                    missing += 1
                    print(f"no data: {file.stem} / {panel['title']}: {substitute(target['expr'], settings)}")
    print(f"{found} queries find data, {excused} may be empty and are, {missing} find nothing")
    return 1 if missing or not found else 0


def panels_of(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def metrics_of(expression: str) -> list[str]:
    """The names in front of braces."""
    return re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{", expression)


def substitute(expression: str, settings: Settings) -> str:
    """Puts the reader's choice in the place of Grafana's variables, the longest name first."""
    for name in sorted(settings.variables, key=len, reverse=True):
        expression = expression.replace(f"${{{name}}}", settings.variables[name]).replace(f"${name}", settings.variables[name])
    return expression


def series_of_panel(panel: dict[str, Any], settings: Settings) -> list[Series]:
    return [series for target in panel["targets"] for series in query(target, settings)]


def query(target: dict[str, Any], settings: Settings) -> Iterator[Series]:
    """Asks Prometheus as Grafana would; series without a number are left out."""
    parameters = {"query": substitute(target["expr"], settings)}
    if target["instant"]:
        path, parameters["time"] = "query", str(settings.end)
    else:
        path = "query_range"
        parameters |= {"start": str(settings.start), "end": str(settings.end), "step": str(settings.step)}
    for result in ask(f"{settings.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", target["expr"]):
        points = result.get("values") or [result["value"]]
        values = [float(value) for _, value in points]
        if any(value == value for value in values):
            name = legend(target["legendFormat"], result["metric"])
            yield Series(name, result["metric"], [float(at) for at, _ in points], values)


def ask(url: str, expression: str) -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            data = json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise QueryError(f"{expression}: {error.read().decode(errors='replace')[:300]}") from error
    except OSError as error:
        raise QueryError(f"Prometheus does not answer at {url.split('/api')[0]}: {error}") from error
    result: list[dict[str, Any]] = data["result"]
    return result


def legend(template: str, labels: dict[str, str]) -> str:
    text = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), template)
    return text.strip() or "value"


if __name__ == "__main__":
    sys.exit(main())
