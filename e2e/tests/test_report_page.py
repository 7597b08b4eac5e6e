"""The report's page in a real browser: no errors, no requests, readable in light, dark and on paper."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree

import PIL.Image
import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
RUN = REPOSITORY / "bench/tests/data/run"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def candlepower(*arguments):
    target = os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")
    command = pathlib.Path(target) / "release/candlepower"
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if not found:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    candlepower("report", str(RUN), "-o", "html", "-f", str(path))
    return path


def run_browser(browser, page, *flags):
    profile = page.parent / "profile"
    return subprocess.run(
        [
            browser,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--v=0",
            f"--user-data-dir={profile}",
            f"--log-net-log={page.parent}/net.json",
            *flags,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def test_the_page_has_no_console_messages_and_all_its_parts(browser, page):
    done = run_browser(browser, page, "--dump-dom")
    messages = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert messages == []
    assert "Executive Summary" in done.stdout
    figures = done.stdout.count("<figure")
    assert figures >= 8
    # Every plot has shapes that the browser understood as SVG.
    assert done.stdout.count("<svg viewBox") == figures


def test_the_page_asks_for_nothing_but_itself(browser, page):
    run_browser(browser, page, "--dump-dom")
    log = (page.parent / "net.json").read_text()
    asked = set(re.findall(r'"url":"([a-z-]+:[^"]*)"', log))
    foreign = {url for url in asked if page.name in url and not url.startswith("file:")}
    assert foreign == set()
    html = page.read_text()
    assert not re.search(r"\b(src|href)=\"(?!#|data:)", html)
    assert "<script" not in html


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_drawn_in_both_colour_schemes(browser, page, scheme):
    keep = pathlib.Path(os.environ.get("REPORT_PICTURES", page.parent))
    picture = keep / f"report-{scheme}.png"
    flags = ["--blink-settings=preferredColorScheme=" + ("0" if scheme == "dark" else "1")]
    run_browser(browser, page, "--window-size=1200,6000", f"--screenshot={picture}", *flags)
    assert picture.stat().st_size > 50_000
    with PIL.Image.open(picture) as drawn:
        corner = drawn.convert("RGB").getpixel((0, 0))
    assert (max(corner) < 80) if scheme == "dark" else (min(corner) > 200), corner


def test_the_page_prints(browser, page):
    paper = page.parent / "report.pdf"
    run_browser(browser, page, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    assert paper.read_bytes()[:5] == b"%PDF-"
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert 3 <= pages <= 40


def test_confluence_takes_it_as_xml():
    text = candlepower("report", str(RUN), "-o", "confluence")
    names = 'xmlns:ac="urn:ac" xmlns:ri="urn:ri"'
    root = xml.etree.ElementTree.fromstring(f"<page {names}>{text}</page>")
    titles = [one.text for one in root.iter("h1")]
    assert titles[0] == "Executive Summary" and len(titles) == 11


def test_json_follows_the_published_schema():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((REPOSITORY / "docs/reference/report.schema.json").read_text())
    report = json.loads(candlepower("report", str(RUN), "-o", "json"))
    jsonschema.Draft202012Validator(schema).validate(report)
