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


def candidate(matching: Matching, name: str) -> Candidate | None:
    """A pair of values that differ, ready to be looked at alone.

    Args:
        matching: The partners.
        name: The reference's value.

    Returns:
        The pair; None if it agrees, has no partner, or is made of something without a partner.
    """
    trunk, other = matching.reference.trunk, matching.other.trunk
    match = matching.pairs.get(name)
    if match is None or match.agreement.passed or name not in trunk.producer:
        return None
    nodes, border = trunk.region(name, matching.pairs)
    other_nodes, other_border = other.region(match.other, matching.back)
    if any(v not in matching.back for v in other_border) or any(v not in matching.pairs for v in border):
        return None
    return Candidate(name, match, tuple(nodes), tuple(other_nodes), tuple(border), tuple(other_border))


def followers(matching: Matching, name: str) -> list[str]:
    """The next values behind one that have partners.

    Args:
        matching: The partners.
        name: The reference's value.

    Returns:
        The reference's names of floating point values.
    """
    found: dict[str, None] = {}
    waiting, seen = [name], {name}
    while waiting:
        for node in matching.reference.trunk.consumers.get(waiting.pop(), ()):
            for value in node.outputs:
                if value in matching.pairs:
                    found[value] = None
                elif value not in seen:
                    seen.add(value)
                    waiting.append(value)
    return [value for value in found if matching.reference.values[value].dtype.kind in "fc"]


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
