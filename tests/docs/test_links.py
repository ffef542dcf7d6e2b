"""Every relative link of README and docs leads somewhere, and so does every anchor."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, anchors, links, name_of

BROKEN = "[a](missing.md) [b](#no-such-heading) [c](https://example.invalid/x) `[d](code.md)`"


def broken(page: Path, text: str) -> list[str]:
    found = []
    for target, line in links(text):
        if ":" in target.partition("/")[0]:
            continue  # somebody else's page
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        if not file.exists():
            found.append(f"{name_of(page)}:{line}: {target} does not exist")
        elif anchor and anchor not in anchors(text if file == page else file.read_text()):
            found.append(f"{name_of(page)}:{line}: {target}: no such heading")
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert not broken(page, page.read_text())


def test_a_broken_link_is_found() -> None:
    assert len(broken(PAGES[0], BROKEN)) == 2
