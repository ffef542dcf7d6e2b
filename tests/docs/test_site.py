"""The site builds without a warning, and needs nothing from the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

_FETCHED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=["']?(?:https?:)?//""")


def build(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder), *arguments]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(folder)
    assert done.returncode == 0, done.stderr
    assert not done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_there(site: Path) -> None:
    pages = {str(page.relative_to(site).with_suffix("")) for page in site.rglob("*.html")}
    written = {page.stem for page in (ROOT / "docs").glob("*.md")}
    reference = {f"reference/{name}" for name in ("cli", "api", "routes", "errors", "json")}
    assert written | reference | {"index", "changelog", "contributing"} <= pages


@pytest.mark.slow
def test_reference_is_written_out(site: Path) -> None:
    cli = (site / "reference/cli.html").read_text()
    api = (site / "reference/api.html").read_text()
    assert 'id="xport-convert"' in cli
    assert "<code>--keep-failed</code>" in cli
    assert "The format wanted" in api  # from a docstring
    assert 'id="xport.validate.api.validate"' in api


@pytest.mark.slow
def test_links_to_code_lead_to_its_page(site: Path) -> None:
    page = (site / "getting-started.html").read_text()
    assert 'href="reference/errors.html"' in page
    assert (site / "repository/benchmarks/results/latency.json").is_file()


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    fetched = {str(page): _FETCHED.findall(page.read_text()) for page in site.rglob("*.html")}
    assert not {page: found for page, found in fetched.items() if found}
    assert not [sheet for sheet in site.rglob("*.css") if re.search(r"url\([\"']?https?:", sheet.read_text())]


@pytest.mark.slow
def test_a_broken_page_fails_the_build(tmp_path: Path) -> None:
    configuration = (ROOT / "mkdocs.yml").read_text().replace("- Status: status.md", "- Status: no-such-page.md")
    place = ROOT / "build" / f"mkdocs-{os.getpid()}.yml"
    place.parent.mkdir(exist_ok=True)
    for name in ("docs_dir: docs", "- docs/generate/hook.py", "paths: [src]"):
        folder = name.split()[-1].strip("[]")
        configuration = configuration.replace(name, name.replace(folder, f"../{folder}"))
    place.write_text(configuration)
    try:
        done = build(tmp_path / "site", "--config-file", str(place))
    finally:
        place.unlink()
    assert done.returncode != 0
    assert "no-such-page.md" in done.stderr
