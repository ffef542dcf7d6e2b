"""The ONNX project's node tests on every target, against the table of exclusions.

SavedModel and PyTorch run whole each time, with inputs at run time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exclusions
from harness import names
from sweep import sweep

SHARDS = 8
COMBINATIONS = [("savedmodel", "runtime"), ("torch", "runtime")]
"""Targets and modes whose exclusions stand in the table; `make conformance` measures the others."""


@pytest.mark.parametrize(
    ("target", "mode", "shard"),
    [(target, mode, shard) for target, mode in COMBINATIONS for shard in range(SHARDS)],
)
def test_node_suite(target: str, mode: str, shard: int) -> None:
    excluded = exclusions.read()
    outcomes = sweep(target, mode, names()[shard::SHARDS], jobs=1)
    assert outcomes
    complaints = []
    for name, outcome in outcomes.items():
        reason = excluded.get((target, mode, name))
        if outcome.status == "refused" and reason is None:
            complaints.append(f"{name} is refused and not in the table: {outcome.detail}")
        elif outcome.status == "pass" and reason is not None:
            complaints.append(f"{name} passes but is excluded: {reason}")
        elif outcome.status in ("wrong", "failed"):
            complaints.append(f"{name} is {outcome.status}: {outcome.detail}")
    assert not complaints, "\n".join(complaints)
