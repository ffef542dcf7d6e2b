"""The site builds without a warning, and needs nothing from the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

_FETCHED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=["']?(?:https?:)?//""")


def build(folder: Path, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(folder)
    assert done.returncode == 0, done.stderr
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
def test_no_markup_is_left(site: Path) -> None:
    """GitHub and the site read some lists and tables differently; what one of them does not understand shows."""
    for page in site.glob("*.html"):
        article = re.search(r"<article.*</article>", page.read_text(), re.DOTALL)
        assert article
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", article[0], flags=re.DOTALL)
        assert not re.findall(r"\*\*|\]\(|^\|[ -]|^\* |^\d\. ", text, re.MULTILINE), page


@pytest.mark.slow
def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    for entry in ROOT.iterdir():
        if entry.name not in ("docs", "build", ".git"):
            (tmp_path / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    page = tmp_path / "docs/many.md"
    page.write_text(page.read_text() + "\n[nowhere](no-such-page.md) [nothing](ray.md#no-such-heading)\n")
    done = build(tmp_path / "site", tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("WARNING") == 2
    assert "no-such-page.md" in done.stderr
    assert "no-such-heading" in done.stderr
