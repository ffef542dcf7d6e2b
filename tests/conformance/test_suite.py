"""The ONNX project's node tests on every target, against the table of exclusions.

SavedModel and PyTorch run whole each time, with inputs at run time; of the other targets and modes a few shards take
their turn each day.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exclusions
from harness import names
from sweep import sweep

WHOLE = [("savedmodel", "runtime"), ("torch", "runtime")]
SHARDS = 8
OTHERS = sorted({(target, mode) for target, mode, _ in exclusions.read()} - set(WHOLE))
"""What `make conformance` has measured."""
OTHER_SHARDS = 24
A_DAY = 3
"""How many shards of the others run each day, about a minute and a half on two cores: all of them in 80 days."""

_TURNS = len(OTHERS) * OTHER_SHARDS // A_DAY
_ROTATING = [
    pytest.param(target, mode, shard, marks=pytest.mark.slow(turn=index // A_DAY, turns=_TURNS))
    for index, (shard, (target, mode)) in enumerate((s, c) for s in range(OTHER_SHARDS) for c in OTHERS)
]


def complaints_of(target: str, mode: str, cases: list[str]) -> list[str]:
    """What the outcomes of some cases and the table of exclusions disagree about."""
    excluded = exclusions.read()
    outcomes = sweep(target, mode, cases, jobs=1)
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
    return complaints


@pytest.mark.parametrize(
    ("target", "mode", "shard"), [(target, mode, shard) for target, mode in WHOLE for shard in range(SHARDS)]
)
def test_node_suite(target: str, mode: str, shard: int) -> None:
    complaints = complaints_of(target, mode, names()[shard::SHARDS])
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(("target", "mode", "shard"), _ROTATING)
def test_part_of_the_other_targets_and_modes(target: str, mode: str, shard: int) -> None:
    complaints = complaints_of(target, mode, names()[shard::OTHER_SHARDS])
    assert not complaints, "\n".join(complaints)
