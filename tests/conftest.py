"""Selects slow tests: none, all, or a part that rotates by day."""

from __future__ import annotations

import datetime
import os
import zlib

import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

PARTS = 10
"""How many days it takes until every slow test has run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", choices=("none", "rotating", "all"), default="none", help="which slow tests to run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    choice = config.getoption("--slow")
    dropped = [
        item
        for item in items
        if (marker := item.get_closest_marker("slow"))
        and (choice == "none" or (choice == "rotating" and not _has_its_turn(item.nodeid, marker)))
    ]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]


def _has_its_turn(name: str, marker: pytest.Mark) -> bool:
    """Whether it is a slow test's day: one in `PARTS`, or the one that ``slow(turn=…, turns=…)`` gives it."""
    turns = marker.kwargs.get("turns", PARTS)
    turn: int = marker.kwargs.get("turn", zlib.crc32(name.encode()) % turns)
    return datetime.date.today().toordinal() % turns == turn
