"""Grafana's own published schema knows every field of every dashboard: none is lost when its parser reads them.

Needs neither a cluster nor Grafana.
"""

import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

import kube

BOARDS = sorted((kube.E2E.parent / "dashboards").glob("*.json"))
# Grafana writes it itself, the text of a variable's query, but its schema leaves it out.
UNDOCUMENTED = {"definition"}


@pytest.fixture(scope="module", autouse=True)
def panel_types() -> None:
    """Makes the parser read the options of each kind of panel and query, too."""
    plugins.register_default_plugins()


def changed(before: Any, after: Any, path: str = "") -> list[str]:
    """Where values were lost or became others. Defaults that were added are no change."""
    if isinstance(before, dict) and isinstance(after, dict):
        known = {key: value for key, value in before.items() if key not in UNDOCUMENTED}
        return [place for key, value in known.items() for place in changed(value, after.get(key), f"{path}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [place for at, pair in enumerate(zip(before, after, strict=True)) for place in changed(*pair, f"{path}/{at}")]
    return [] if before == after else [f"{path}: {before!r} became {after!r}"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_a_dashboard_survives_grafana_s_parser(board: Any) -> None:
    written = json.loads(board.read_text())
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    assert changed(written, read) == []


def test_a_field_that_grafana_does_not_know_would_be_seen() -> None:
    written = json.loads(BOARDS[0].read_text())
    panel = next(panel for panel in written["panels"] if panel["type"] == "timeseries")
    panel["options"]["legend"]["displayMod"] = "list"
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    assert [place.split("/")[-1] for place in changed(written, read)] == ["displayMod: 'list' became None"]
