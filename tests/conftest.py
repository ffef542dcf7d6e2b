"""Selects slow tests: none, all, or a part that rotates by day."""

from __future__ import annotations

import datetime
import importlib.util
import os
import signal
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# The same examples in every run, so that a change is judged by what it changed; new ones on request:
# ``pytest --hypothesis-profile=explore``.
settings.register_profile("steady", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("explore", max_examples=3000, deadline=None, print_blob=True)
settings.load_profile("steady")

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


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Calls the command line; returns exit code, stdout and stderr."""
    from xport.cli.run import run

    before, show = signal.getsignal(signal.SIGTERM), warnings.showwarning

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    yield call
    signal.signal(signal.SIGTERM, before)
    warnings.showwarning = show


@pytest.fixture(scope="session")
def add_node() -> Callable[..., Any]:
    """Adds a node to a cluster of Ray's, which gives it 30 seconds to start: a busy machine may need more."""

    def add(cluster: Any, **settings: Any) -> Any:
        for _ in range(4):
            try:
                return cluster.add_node(**settings)
            except Exception as error:
                if "timed out during startup" not in str(error):
                    raise
        pytest.skip("this machine is too busy to start a node of Ray within 30 seconds")

    return add


@pytest.fixture(scope="session")
def save_tiny() -> Callable[..., Path]:
    """Saves ``y = tanh(x @ w)`` as ONNX and returns the path."""
    path = Path(__file__).parent / "convert" / "tiny_onnx.py"
    spec = importlib.util.spec_from_file_location("shared_tiny_onnx", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Callable[..., Path], module.save_tiny)


@pytest.fixture
def tiny(tmp_path: Path, save_tiny: Callable[..., Path]) -> Path:
    """An ONNX model, ``y = tanh(x @ w)``."""
    return save_tiny(tmp_path / "tiny.onnx")
