"""Einsum, reduced to transposes, sums and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xport.convert.lowering.registry import Tensor, op, refuse


@dataclass(frozen=True)
class Term:
    """A tensor and the labels of its axes."""

    tensor: Any
    labels: tuple[str, ...]


@op("Einsum", since=12)
def einsum(xp: Any, *operands: Tensor, equation: str) -> Any:
    """Sum products over labelled axes, with ellipsis, diagonals and implicit output."""
    inputs, output = parse(equation, [xp.rank(x) for x in operands])
    terms = [_simplified(xp, Term(x, labels)) for x, labels in zip(operands, inputs, strict=True)]
    terms = _without_ones(xp, terms)
    while len(terms) > 1:
        first, second, *rest = terms
        needed = set(output).union(*(t.labels for t in rest))
        terms = [_contract(xp, first, second, needed), *rest]
    term = _summed(xp, terms[0], set(output))
    return _arranged(xp, term, output)


def parse(equation: str, ranks: Sequence[int]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Labels of every input's axes and of the output's; those of an ellipsis are numbered from the end.

    Args:
        equation: As the specification writes it, spaces allowed.
        ranks: The inputs' ranks.
    """
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks):
        raise refuse(f"equation {equation!r}", f"it has {len(parts)} terms for {len(ranks)} inputs")
    inputs = [_labels(part, rank, equation) for part, rank in zip(parts, ranks, strict=True)]
    broad = max((sum(x.startswith(".") for x in labels) for labels in inputs), default=0)
    dots = tuple(f".{i}" for i in range(broad, 0, -1))
    if arrow:
        output = _split(right, dots)
    else:
        letters = [x for labels in inputs for x in labels if not x.startswith(".")]
        output = (*dots, *sorted(x for x in set(letters) if letters.count(x) == 1))
    return inputs, output


def _labels(part: str, rank: int, equation: str) -> tuple[str, ...]:
    letters = part.replace("...", "")
    count = rank - len(letters)
    if count < 0 or (count and "..." not in part):
        raise refuse(f"equation {equation!r}", f"term {part!r} does not fit an input of rank {rank}")
    return _split(part, tuple(f".{i}" for i in range(count, 0, -1)))


def _split(part: str, dots: tuple[str, ...]) -> tuple[str, ...]:
    before, ellipsis, after = part.partition("...")
    return (*before, *(dots if ellipsis else ()), *after)


def _simplified(xp: Any, term: Term) -> Term:
    """Take diagonals until no label is repeated."""
    tensor, labels = term.tensor, list(term.labels)
    while len(set(labels)) < len(labels):
        label = next(x for x in labels if labels.count(x) > 1)
        i = labels.index(label)
        j = labels.index(label, i + 1)
        tensor = xp.diagonal(tensor, i, j)
        del labels[j]
    return Term(tensor, tuple(labels))


def _without_ones(xp: Any, terms: list[Term]) -> list[Term]:
    """Drop axes of size one whose label is longer elsewhere: they broadcast."""
    longer = {x for t in terms for x, s in zip(t.labels, xp.shape(t.tensor), strict=True) if not xp.is_one(s)}
    result = []
    for term in terms:
        sizes = xp.shape(term.tensor)
        kept = [i for i, x in enumerate(term.labels) if not (xp.is_one(sizes[i]) and x in longer)]
        if len(kept) < len(sizes):
            labels = tuple(term.labels[i] for i in kept)
            term = Term(xp.reshape(term.tensor, [sizes[i] for i in kept]), labels)
        result.append(term)
    return result


def _summed(xp: Any, term: Term, needed: set[str]) -> Term:
    """Sum over the labels that nobody needs."""
    gone = [i for i, x in enumerate(term.labels) if x not in needed]
    if not gone:
        return term
    return Term(xp.reduce_sum(term.tensor, gone, False), tuple(x for x in term.labels if x in needed))


def _contract(xp: Any, a: Term, b: Term, needed: set[str]) -> Term:
    """The product of two terms, summed over what nobody else needs: one batched matrix product."""
    a = _summed(xp, a, needed.union(b.labels))
    b = _summed(xp, b, needed.union(a.labels))
    common = [x for x in a.labels if x in b.labels]
    batch = [x for x in common if x in needed]
    inner = [x for x in common if x not in needed]
    rows = [x for x in a.labels if x not in common]
    columns = [x for x in b.labels if x not in common]
    of_a, of_b = (dict(zip(t.labels, xp.shape(t.tensor), strict=True)) for t in (a, b))
    size = of_a | of_b | {x: _broadcast(xp, x, of_a[x], of_b[x]) for x in common}
    labels = (*batch, *rows, *columns)
    sizes = [size[x] for x in labels]
    # Each with its own sizes in front: one that turns out to be one only at run time is spread by the product itself.
    lead, lead_b = ([own[x] for x in batch] for own in (of_a, of_b))
    if not inner:
        left = xp.reshape(_arranged(xp, a, (*batch, *rows)), [*lead, *(size[x] for x in rows), *[1] * len(columns)])
        right = _arranged(xp, b, (*batch, *columns))
        right = xp.reshape(right, [*lead_b, *[1] * len(rows), *(size[x] for x in columns)])
        return Term(xp.mul(left, right), labels)
    m, k, n = (xp.product([size[x] for x in group]) for group in (rows, inner, columns))
    left, right = _arranged(xp, a, (*batch, *rows, *inner)), _arranged(xp, b, (*batch, *inner, *columns))
    if len(rows) == len(inner) == len(columns) == 1:
        return Term(xp.matmul(left, right), labels)
    product = xp.matmul(xp.reshape(left, [*lead, m, k]), xp.reshape(right, [*lead_b, k, n]))
    return Term(xp.reshape(product, sizes), labels)


def _broadcast(xp: Any, label: str, a: Any, b: Any) -> Any:
    """The size of an axis that two terms share; only axes of an ellipsis are expected to be one at run time alone."""
    if isinstance(a, int) or isinstance(b, int):
        return a if isinstance(a, int) else b
    return xp.largest(a, b) if label.startswith(".") and not xp.same_size(a, b) else b


def _arranged(xp: Any, term: Term, labels: Sequence[str]) -> Any:
    """The tensor with its axes in an order."""
    order = [term.labels.index(x) for x in labels]
    return term.tensor if order == list(range(len(order))) else xp.transpose(term.tensor, order)
