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
    today = datetime.date.today().toordinal() % PARTS
    dropped = [
        item
        for item in items
        if item.get_closest_marker("slow")
        and (choice == "none" or (choice == "rotating" and zlib.crc32(item.nodeid.encode()) % PARTS != today))
    ]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]
