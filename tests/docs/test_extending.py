"""What docs/extending.md and CONTRIBUTING.md say about files and tables is so; their scripts run in test_walks.py."""

from __future__ import annotations

import re
from itertools import chain

import pytest

from tests.docs.pages import ROOT, prose

PAGE = (ROOT / "docs/extending.md").read_text()
AREAS = ("convert", "serve", "validate", "src/xport")
_BY_FORMAT = re.compile(r"^ +(?:\w+\.)?(?:Format|Content)\.(?:KERAS|TFLITE): ", re.MULTILINE)


def paths(text: str) -> list[str]:
    found = re.findall(r"`((?:convert|serve|validate|src|tests|models)/[\w/<>.]+)`", text)
    return [re.sub(r"<\w+>", "*", path) for path in found]


@pytest.mark.parametrize("name", ["docs/extending.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_files_exist(name: str) -> None:
    found = paths(prose((ROOT / name).read_text()))
    assert found
    missing = [path for path in found if not any(chain(ROOT.glob(path), ROOT.glob(f"{path}.py")))]
    assert not missing


def test_tables_are_where_the_page_says() -> None:
    named = re.findall(r"`([A-Z][A-Z_]+)`(?: or `([A-Z_]+)`)? in `([\w/.]+)`", PAGE)
    assert len(named) >= 6
    for *tables, path in named:
        for table in filter(None, tables):
            assert re.search(rf"^{table}\b.*=", (ROOT / path).read_text(), re.MULTILINE), f"{table} in {path}"


def test_every_table_by_format_is_named() -> None:
    """A table that has a line for Keras or TFLite wants one for a new format, too."""
    section = PAGE.split("## How to add a format")[1]
    modules = [module for area in AREAS for module in (ROOT / area).rglob("*.py")]
    tables = {str(m.relative_to(ROOT)) for m in modules if _BY_FORMAT.search(m.read_text())}
    assert len(tables) >= 6
    assert tables <= set(paths(section))
