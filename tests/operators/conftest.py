"""A fourth of these tests a day: the conformance suite, which runs every day, has every operator once."""

from __future__ import annotations

from pathlib import Path

import pytest

TURNS = 4


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here before `tests/conftest.py` chooses."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.slow(turns=TURNS))
