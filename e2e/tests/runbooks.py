"""The commands and queries in the runbooks, as a reader would copy them."""

import os
import re
import subprocess
from pathlib import Path

import kube

FOLDER = kube.E2E.parent / "docs" / "runbooks"
PAGES = sorted(page.stem for page in FOLDER.glob("Candlepower*.md"))
# A block without a language is found, too: nobody would run what it says.
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def lines(page: str, language: str) -> list[str]:
    """The lines of a page's blocks in a language, without comments."""
    text = (FOLDER / f"{page}.md").read_text()
    blocks = [block for found, block in FENCE.findall(text) if found == language]
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def languages() -> set[str]:
    """The languages of all blocks."""
    return {language for page in PAGES for language, _ in FENCE.findall((FOLDER / f"{page}.md").read_text())}


def placed(query: str, namespace: str, name: str) -> str:
    """A query with the alert's labels in their place."""
    return query.replace("$NAMESPACE", namespace).replace("$NAME", name)


def check_commands(page: str, namespace: str, name: str) -> None:
    """Runs a page's commands with the two variables set as the runbooks say: each has to succeed and print something."""
    variables = os.environ | {"NAMESPACE": namespace, "NAME": name}
    for command in lines(page, "sh"):
        shell = ["bash", "-o", "pipefail", "-c", command]
        done = subprocess.run(shell, env=variables, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip(), f"{command} prints nothing"
