"""Which value of one form is which of the other.

First come values that agree: they need no other proof that they belong together, and no names. Then what is left is
paired by name, by structure (the same operator on paired inputs), by the names that conversions leave in node
names, and by closeness. What two converters make of one network differs in between (a batch normalisation folded
here, a GELU in five operators there): such values have no partner, and none is invented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from xport.validate.bisection.agreement import Agreement, Perm, agree, alignments, distance
from xport.validate.bisection.trunk import Node, Trunk
from xport.validate.figures import rms, to_float64

Tensors = Mapping[str, np.ndarray]

_CLOSE = 0.5
_MOVES_ONLY = {"Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Cast", "Pad", "Flatten"}
_SEPARATORS = re.compile(r"[;/]")
_Print = tuple[float, float]


@dataclass(frozen=True)
class Side:
    """One side: its form, and what its values hold on the inputs.

    Attributes:
        trunk: The form.
        values: Arrays by value name; values that no array can hold are missing.
        wide: The same in float64; empty where that cannot be had.
    """

    trunk: Trunk
    values: Tensors
    wide: Tensors


@dataclass(frozen=True)
class Match:
    """A value's partner.

    Attributes:
        other: The partner's name.
        perm: The order of the partner's axes; see `xport.validate.bisection.agreement.alignments`.
        agreement: How they compare.
        how: ``signature``, ``name``, ``structure``, ``node name`` or ``value``: what made them partners.
    """

    other: str
    perm: Perm
    agreement: Agreement
    how: str


class Matching:
    """Partners by the reference's names.

    Args:
        reference: The reference.
        other: The other side.
        inputs: The other's input names by the reference's.
        outputs: The other's output names by the reference's.

    Attributes:
        pairs: Every match.
        back: The reference's names by the other's.
    """

    def __init__(self, reference: Side, other: Side, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
        self.reference = reference
        self.other = other
        self.pairs: dict[str, Match] = {}
        self.back: dict[str, str] = {}
        self._hints = _hints(reference.trunk, other.trunk)
        self._prints = {name: _print(array) for name, array in other.values.items()}
        self._buckets: dict[tuple[bool, tuple[int, ...]], list[str]] = {}
        for name in other.trunk.values:
            if name in other.values:
                self._buckets.setdefault(_bucket(other.values[name]), []).append(name)
        for name, partner in inputs.items():
            self._pair(name, Match(partner, (), Agreement(True, 0.0, 0.0, 0.0), "signature"))
        self._agreeing()
        for name, partner in outputs.items():
            if name not in self.pairs and (match := self._compared(name, partner, "signature")) is not None:
                self._pair(name, match)
        self._differing()

    def agreeing(self, name: str) -> bool:
        """Whether a value of the reference has a partner that holds the same numbers."""
        return name in self.pairs and self.pairs[name].agreement.passed

    def _pair(self, name: str, match: Match) -> None:
        self.pairs[name] = match
        if match.agreement.passed or match.other not in self.back:
            self.back[match.other] = name

    def _agreeing(self) -> None:
        """Pair what holds the same numbers."""
        for name in self.reference.trunk.values:
            if name not in self.reference.values or name in self.pairs:
                continue
            for partner, how in self._likely(name):
                match = self._compared(name, partner, how)
                if match is not None and match.agreement.passed:
                    self._pair(name, match)
                    break

    def _likely(self, name: str) -> Iterator[tuple[str, str]]:
        """Partners worth a comparison, the best first."""
        array = self.reference.values[name]
        if name in self.other.values:
            yield name, "name"
        for partner in self._hints.get(name, ()):
            yield partner, "node name"
        if array.size < 2 or array.dtype.kind not in "fc":
            return  # a scalar or a shape equals too much by chance
        mean, size = _print(array)
        if size == 0.0 or not np.isfinite(size):
            return
        for partner in self._buckets.get(_bucket(array), ()):
            theirs = self._prints[partner]
            if abs(theirs[1] - size) <= 1e-2 * size and abs(theirs[0] - mean) <= 1e-2 * size:
                yield partner, "value"

    def _compared(self, name: str, partner: str, how: str) -> Match | None:
        """The match in the best order of axes; None if the shapes have nothing to do with each other."""
        if partner not in self.other.values or name not in self.reference.values:
            return None
        array, theirs, wide = self.reference.values[name], self.other.values[partner], self.reference.wide.get(name)
        if (array.dtype.kind in "fc") != (theirs.dtype.kind in "fc"):
            return None
        best: Match | None = None
        for perm, view in alignments(array.shape, theirs):
            found = Match(partner, perm, agree(array, view, wide), how)
            if found.agreement.passed:
                return found
            if best is None or found.agreement.relative < 0.5 * best.agreement.relative:
                best = found
        return best

    def _differing(self) -> None:
        """Pair what is left, in topological order."""
        for name in self.reference.trunk.values:
            if name in self.pairs or name not in self.reference.values:
                continue
            for partner, how in self._probable(name):
                match = self._compared(name, partner, how) if partner not in self.back else None
                if match is not None:
                    self._pair(name, match)
                    break

    def _probable(self, name: str) -> Iterator[tuple[str, str]]:
        """Partners of a value that differs, the surest first."""
        if name in self.other.values:
            yield name, "name"
        node = self.reference.trunk.producer.get(name)
        if node is not None:
            yield from ((partner, "structure") for partner in self._alike(node, name))
        for partner in reversed(self._hints.get(name, ())):
            yield partner, "node name"
        closest = self._closest(name)
        if closest is not None:
            yield closest, "value"

    def _alike(self, node: Node, name: str) -> Iterator[str]:
        """Outputs of the same operator on the partners of a node's inputs, at the same place."""
        given = self.reference.trunk.data_inputs(node)
        partners = [self.pairs[i].other for i in given if i in self.pairs]
        if not partners or len(partners) < len(given):
            return
        place, wanted = node.outputs.index(name), sorted(partners)
        waiting, seen = [partners[0]], {partners[0]}
        while waiting:
            for candidate in self.other.trunk.consumers.get(waiting.pop(0), ()):
                fits = candidate.op == node.op and place < len(candidate.outputs)
                if fits and sorted(self._roots(candidate, wanted)) == wanted:
                    yield candidate.outputs[place]
                if candidate.op in _MOVES_ONLY and not seen & set(candidate.outputs):
                    seen.update(candidate.outputs)
                    waiting += candidate.outputs

    def _roots(self, node: Node, wanted: list[str]) -> list[str]:
        """What a node takes, seen through operators that only move numbers."""
        found, waiting = [], self.other.trunk.data_inputs(node)
        while waiting:
            name = waiting.pop()
            maker = self.other.trunk.producer.get(name)
            if name not in wanted and maker is not None and maker.op in _MOVES_ONLY:
                waiting += self.other.trunk.data_inputs(maker)[:1]
            else:
                found.append(name)
        return found

    def _closest(self, name: str) -> str | None:
        """The closest value without a partner, if it is close to no other value of the reference more."""
        array = self.reference.values[name]
        if array.dtype.kind not in "fc" or array.size < 2:
            return None
        best, least = None, _CLOSE
        for partner in self._buckets.get(_bucket(array), ()):
            if partner not in self.back:
                found = self._distance(array, partner)
                if found < least:
                    best, least = partner, found
        if best is None:
            return None
        for rival in self.reference.trunk.values:
            if rival == name or rival in self.pairs or rival not in self.reference.values:
                continue
            theirs = self.reference.values[rival]
            if _bucket(theirs) == _bucket(array) and self._distance(theirs, best) < least:
                return None
        return best

    def _distance(self, array: np.ndarray, partner: str) -> float:
        views = alignments(array.shape, self.other.values[partner])
        return min((distance(array, view) for _, view in views), default=np.inf)


def _bucket(array: np.ndarray) -> tuple[bool, tuple[int, ...]]:
    return array.dtype.kind in "fc", tuple(sorted(size for size in array.shape if size != 1))


def _print(array: np.ndarray) -> _Print:
    """Mean and RMS: two values whose difference is small differ no more in either, whatever the order of axes."""
    if array.dtype.kind not in "fc":
        return 0.0, 0.0
    wide = to_float64(array)
    finite = wide[np.isfinite(wide)]
    return (float(finite.mean()), rms(finite)) if finite.size else (0.0, 0.0)


def _hints(reference: Trunk, other: Trunk) -> dict[str, list[str]]:
    """By the reference's value, values of nodes whose names carry the name of the node that makes it.

    xport's lowering names what it makes of a node after it (``node_conv/Conv2D``), and TFLite joins the names of
    what it fused (``node_relu/Relu;node_conv/Conv2D``). Values of the same operator type come last, as the most
    likely.
    """
    nodes = {node.name: node for node in reference.nodes}
    found: dict[str, list[tuple[bool, int, str]]] = {}
    for node in other.nodes:
        words = _SEPARATORS.split(node.name)
        paths = {"/".join(words[:end]) for end in range(1, len(words) + 1)} | set(words)
        for origin in (nodes[path] for path in paths if path in nodes):
            for place, name in enumerate(origin.outputs):
                if place < len(node.outputs):
                    rank = (node.op == origin.op, node.position, node.outputs[place])
                    found.setdefault(name, []).append(rank)
    return {name: [value for _, _, value in sorted(ranked)] for name, ranked in found.items()}
