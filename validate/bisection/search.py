"""The first value that differs: all that it is made of agrees, and nothing in between can be compared."""

from __future__ import annotations

from dataclasses import dataclass

from xport.validate.bisection.matching import Match, Matching
from xport.validate.bisection.trunk import Node


@dataclass(frozen=True)
class Candidate:
    """A pair of values that differ, with what lies between them and the last values that have partners.

    Attributes:
        name: The reference's value.
        match: Its partner.
        nodes: The reference's operators in between.
        other_nodes: The other side's.
        border: The reference's values that ``nodes`` start from.
        other_border: The other side's.
    """

    name: str
    match: Match
    nodes: tuple[Node, ...]
    other_nodes: tuple[Node, ...]
    border: tuple[str, ...]
    other_border: tuple[str, ...]


def candidates(matching: Matching) -> list[Candidate]:
    """Every pair of values that differ, in the reference's topological order.

    Args:
        matching: The partners.

    Returns:
        The pairs that can be looked at alone: all that the other's value is made of has partners.
    """
    found = []
    trunk, other = matching.reference.trunk, matching.other.trunk
    stop = dict.fromkeys(matching.back)
    for name in trunk.values:
        match = matching.pairs.get(name)
        if match is None or match.agreement.passed or name not in trunk.producer:
            continue
        nodes, border = trunk.region(name, matching.pairs)
        other_nodes, other_border = other.region(match.other, stop)
        if all(value in matching.back for value in other_border) and all(v in matching.pairs for v in border):
            found.append(Candidate(name, match, tuple(nodes), tuple(other_nodes), tuple(border), tuple(other_border)))
    return found


def leading_to(matching: Matching, outputs: list[str]) -> set[str]:
    """Values that differing outputs come from by way of values that do not agree.

    Args:
        matching: The partners.
        outputs: Outputs of the reference.

    Returns:
        The reference's names, the outputs included.
    """
    found: set[str] = set()
    waiting = [name for name in outputs if not matching.agreeing(name)]
    trunk = matching.reference.trunk
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        node = trunk.producer.get(name)
        if node is not None:
            waiting += [v for v in trunk.data_inputs(node) if not matching.agreeing(v)]
    return found
