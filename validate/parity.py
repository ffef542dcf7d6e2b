"""Is this difference acceptable? The verdict on each output of a candidate.

Rules, first that applies:

1. ``structure``: a missing output, another dtype or shape, NaN or Inf elsewhere fails.
2. ``exact``: integers, bools and strings must be equal; equal floats need no further rule.
3. ``tolerance``: the user's own ``rtol`` and ``atol``.
4. ``floor``: the candidate's error against float64 in units of the source's own (`xport.validate.floor`).
5. ``table``: without a float64 result to trust, `TABLE` says how far a dtype may be off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xport.signature import dtype_name
from xport.validate.figures import Figures, measure, rms, to_float64
from xport.validate.floor import (
    LIMIT,
    LOCAL_LIMIT,
    CaseErrors,
    FloorVerdict,
    allowance,
    case_errors,
    epsilon,
    judge_floor,
)
from xport.validate.verdicts import OutputVerdict, Tolerance

Tensors = Mapping[str, np.ndarray]

TABLE = {
    "float64": 1e-10,
    "complex128": 1e-10,
    "float32": 1e-4,
    "complex64": 1e-4,
    "float16": 1e-2,
    "bfloat16": 5e-2,
}
"""By dtype, the largest t with |difference| <= t * (RMS of the output + |expected|)."""

_COARSE = 0.25  # what no table row covers has a mantissa of at most three bits


@dataclass(frozen=True)
class _Pair:
    """One output in one case."""

    case: str
    expected: np.ndarray
    actual: np.ndarray
    reference: np.ndarray | None


def judge(
    expected: Tensors | Sequence[Tensors],
    actual: Tensors | Sequence[Tensors],
    reference64: Tensors | Sequence[Tensors | None] | None = None,
    *,
    tolerance: Tolerance | None = None,
    names: Sequence[str] = (),
    no_reference: str = "there is no float64 result",
) -> list[OutputVerdict]:
    """Judge a candidate's outputs.

    Args:
        expected: The source's outputs by name; one mapping a case.
        actual: The candidate's, in the same order.
        reference64: The source's in float64, if they can be had; None for a case where they cannot.
        tolerance: The user's own limits, which replace floor and table.
        names: What the cases are called.
        no_reference: Why there is no float64 result, if there is none.

    Returns:
        One verdict an output, in the order of the source, then any output that the source does not have.
    """
    wanted, found = _as_list(expected), _as_list(actual)
    references = _as_list(reference64) if reference64 is not None else [None] * len(wanted)
    labels = list(names) or [str(i) for i in range(len(wanted))]
    verdicts = []
    for output in dict.fromkeys(name for case in wanted for name in case or {}):
        pairs: list[_Pair] = []
        for label, want, have, reference in zip(labels, wanted, found, references, strict=True):
            if want is None or have is None or output not in have:
                break
            deep = None if reference is None else reference.get(output)
            pairs.append(_Pair(label, np.asarray(want[output]), np.asarray(have[output]), deep))
        if len(pairs) < len(wanted):
            verdicts.append(OutputVerdict(output, "failed", "structure", "The output is missing."))
        else:
            verdicts.append(_judge_output(output, pairs, tolerance, no_reference))
    extra = dict.fromkeys(n for case in found for n in case or {} if all(n not in (w or {}) for w in wanted))
    return verdicts + [OutputVerdict(n, "failed", "structure", "The source has no such output.") for n in extra]


def judge_golden(
    expected: Tensors | Sequence[Tensors],
    actual: Tensors | Sequence[Tensors],
    proof_entries: Sequence[Mapping[str, Any]],
) -> list[OutputVerdict]:
    """Judge replayed golden outputs by the floors that a proof records.

    The source in float64 is no longer at hand; its recorded floor is. A faithful result and the golden output
    err independently, so their difference may be sqrt(limit**2 + 1) floors. An output of a lower precision is judged
    by what it loses; see `xport.validate.golden_loss`.

    Args:
        expected: Golden outputs by name; one mapping a case.
        actual: What the artifact gives now.
        proof_entries: ``Proof.parity``: what `OutputVerdict.to_json` wrote.

    Returns:
        One verdict an output.
    """
    from xport.validate.golden_loss import by_recorded_loss

    entries = {row["output"]: OutputVerdict.from_json(row) for row in proof_entries}
    verdicts = []
    for verdict in judge(expected, actual):
        entry = entries.get(verdict.output)
        if entry is not None and entry.loss is not None and verdict.rule != "structure":
            verdicts.append(by_recorded_loss(verdict, entry.loss, _as_list(expected), _as_list(actual)))
        elif verdict.rule != "table" or entry is None:
            verdicts.append(verdict)
        elif entry.tolerance is not None:
            output = verdict.output
            pairs = zip(_as_list(expected), _as_list(actual), strict=True)
            both = [_Pair("golden", np.asarray(e[output]), np.asarray(a[output]), None) for e, a in pairs if e and a]
            verdicts.append(_judge_output(output, both, entry.tolerance))
        elif entry.floor:
            verdicts.append(_by_recorded_floor(verdict, entry, _as_list(expected), _as_list(actual)))
        else:
            verdicts.append(verdict)
    return verdicts


def _as_list(value: Any) -> list[Tensors | None]:
    return [value] if isinstance(value, Mapping) else list(value)


def _by_recorded_floor(
    verdict: OutputVerdict, entry: OutputVerdict, expected: Sequence[Any], actual: Sequence[Any]
) -> OutputVerdict:
    squares, count = 0.0, 0
    for want, have in zip(expected, actual, strict=True):
        left, right = to_float64(np.asarray(want[entry.output])), to_float64(np.asarray(have[entry.output]))
        finite = np.isfinite(left) & np.isfinite(right)
        scale = rms(left[finite]) or 1.0
        squares += int(finite.sum()) * (rms(left[finite] - right[finite]) / scale) ** 2
        count += int(finite.sum())
    ratio = math.sqrt(squares / max(count, 1)) / (entry.floor or 1.0)
    limit = math.sqrt(LIMIT**2 + 1) * allowance(count)
    passed = ratio <= limit
    reason = f"{ratio:.2f} times the recorded rounding floor{'' if passed else f', more than {limit:.1f}'}."
    return replace(
        verdict,
        verdict="faithful" if passed else "failed",
        rule="floor",
        reason=reason,
        ratio=ratio,
        limit=limit,
        floor=entry.floor,
    )


def _judge_output(
    output: str, pairs: Sequence[_Pair], tolerance: Tolerance | None, no_reference: str = ""
) -> OutputVerdict:
    for pair in pairs:
        complaint = _structure(pair)
        if complaint:
            return OutputVerdict(output, "failed", "structure", f"{complaint} (case {pair.case})", case=pair.case)
    if _is_text(pairs[0].expected):
        return _judge_exact(output, pairs, [Figures(count=p.expected.size) for p in pairs])
    figures = [measure(p.expected, p.actual) for p in pairs]
    if _is_discrete(pairs[0].expected):
        return _judge_exact(output, pairs, figures)
    return _judge_floats(output, pairs, figures, tolerance, no_reference)


def _structure(pair: _Pair) -> str:
    """What differs before any number is compared; empty if nothing does."""
    want, have = pair.expected, pair.actual
    if dtype_name(want.dtype) != dtype_name(have.dtype):
        return f"The dtype is {dtype_name(have.dtype)}, expected {dtype_name(want.dtype)}."
    if want.shape != have.shape:
        return f"The shape is {list(have.shape)}, expected {list(want.shape)}."
    if _is_text(want) or _is_discrete(want):
        return ""
    left, right = to_float64(want), to_float64(have)
    for what, a, b in (
        ("NaN", np.isnan(left), np.isnan(right)),
        ("+Inf", np.isposinf(left), np.isposinf(right)),
        ("-Inf", np.isneginf(left), np.isneginf(right)),
    ):
        if not np.array_equal(a, b):
            first = tuple(int(i) for i in np.argwhere(a != b)[0])
            where = f"the first at {list(first)}: {right[first]:.7g}, expected {left[first]:.7g}"
            return f"{int(b.sum())} values are {what}, expected {int(a.sum())}; {int((a != b).sum())} differ, {where}."
    return ""


def _differing(pair: _Pair) -> int:
    """How many values are not equal; NaN equals NaN."""
    want, have = pair.expected, pair.actual
    if _is_text(want):
        return sum(_bytes(a) != _bytes(b) for a, b in zip(want.flat, have.flat, strict=True))
    if _is_discrete(want):
        return int(np.sum(want != have))
    left, right = to_float64(want), to_float64(have)
    return int(np.sum((left != right) & ~(np.isnan(left) & np.isnan(right))))


def _is_text(array: np.ndarray) -> bool:
    return array.dtype.kind in "OSUT"


def _is_discrete(array: np.ndarray) -> bool:
    """Whether values are equal or wrong: integers and bools."""
    return array.dtype.kind in "biu" or "int" in array.dtype.name


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _judge_exact(output: str, pairs: Sequence[_Pair], figures: Sequence[Figures]) -> OutputVerdict:
    for position, pair in enumerate(pairs):
        differing = _differing(pair)
        if differing:
            dtype = dtype_name(pair.expected.dtype)
            reason = f"{differing} of {pair.expected.size} values differ; {dtype} must be equal."
            return _verdict(output, "failed", "exact", reason, pairs, figures, worst=position)
    return _verdict(output, "exact", "exact", "Equal.", pairs, figures)


def _verdict(
    output: str,
    verdict: str,
    rule: str,
    reason: str,
    pairs: Sequence[_Pair],
    figures: Sequence[Figures],
    *,
    worst: int | None = None,
    floor: FloorVerdict | None = None,
    tolerance: Tolerance | None = None,
) -> OutputVerdict:
    if worst is None:
        worst = int(np.argmax([f.smallest_tolerance for f in figures]))
    ratios = floor.case_ratios if floor is not None else [None] * len(pairs)
    return OutputVerdict(
        output,
        verdict,
        rule,
        reason,
        figures=figures[worst],
        case=pairs[worst].case,
        ratio=None if floor is None else floor.ratio,
        limit=None if floor is None else floor.limit,
        floor=None if floor is None else floor.floor,
        tolerance=tolerance,
        cases=tuple(zip((p.case for p in pairs), ratios, figures, strict=True)),
    )


def _judge_floats(
    output: str,
    pairs: Sequence[_Pair],
    figures: Sequence[Figures],
    tolerance: Tolerance | None,
    no_reference: str,
) -> OutputVerdict:
    floor, distrust = _floor(pairs, no_reference)
    trusted = None if distrust else floor
    if not any(_differing(p) for p in pairs):
        return _verdict(output, "exact", "exact", "Equal.", pairs, figures, floor=trusted, tolerance=tolerance)
    if tolerance is not None:
        return _by_tolerance(output, pairs, figures, tolerance, trusted)
    if trusted is not None:
        return _by_floor(output, pairs, figures, trusted)
    return _by_table(output, pairs, figures, distrust)


def _floor(pairs: Sequence[_Pair], no_reference: str) -> tuple[FloorVerdict | None, str]:
    """The floor's verdict over all cases, and why it must not be used (empty if it may)."""
    errors: list[CaseErrors] = []
    for pair in pairs:
        if pair.reference is None:
            return None, no_reference
        found = case_errors(pair.expected, pair.actual, np.asarray(pair.reference))
        if found is None:
            return None, "the float64 result has another shape or is not finite"
        errors.append(found)
    floor = judge_floor(errors, epsilon(pairs[0].expected.dtype))
    return floor, floor.distrust


def _by_floor(output: str, pairs: Sequence[_Pair], figures: Sequence[Figures], floor: FloorVerdict) -> OutputVerdict:
    worst = floor.worst_case
    ratio, limit = floor.case_ratios[worst], floor.case_limits[worst]
    if floor.ratio > floor.limit:
        reason = f"{floor.ratio:.1f} times the rounding floor, more than {floor.limit:.1f}."
    elif ratio > limit:
        reason = f"{ratio:.1f} times the rounding floor in case {pairs[worst].case}, more than {limit:.1f}."
    elif floor.local_ratio > LOCAL_LIMIT:
        worst = int(np.argmax([f.max_abs for f in figures]))
        reason = (
            f"A local defect: the largest error is {floor.local_ratio:.1f} times the source's own largest, "
            f"more than {LOCAL_LIMIT:.0f}."
        )
    else:
        reason = f"{floor.ratio:.2f} times the rounding floor."
        return _verdict(output, "faithful", "floor", reason, pairs, figures, floor=floor)
    return _verdict(output, "failed", "floor", reason, pairs, figures, worst=worst, floor=floor)


def _by_tolerance(
    output: str,
    pairs: Sequence[_Pair],
    figures: Sequence[Figures],
    tolerance: Tolerance,
    floor: FloorVerdict | None,
) -> OutputVerdict:
    for position, pair in enumerate(pairs):
        left, right = to_float64(pair.expected), to_float64(pair.actual)
        finite = np.isfinite(left)
        allowed = tolerance.atol + tolerance.rtol * np.abs(left[finite])
        over = int(np.sum(np.abs(left[finite] - right[finite]) > allowed))
        if over:
            reason = f"{over} of {pair.expected.size} values exceed {tolerance}."
            return _verdict(
                output,
                "failed",
                "tolerance",
                reason,
                pairs,
                figures,
                worst=position,
                floor=floor,
                tolerance=tolerance,
            )
    reason = f"Within {tolerance}."
    return _verdict(output, "faithful", "tolerance", reason, pairs, figures, floor=floor, tolerance=tolerance)


def _by_table(output: str, pairs: Sequence[_Pair], figures: Sequence[Figures], distrust: str) -> OutputVerdict:
    allowed = TABLE.get(dtype_name(pairs[0].expected.dtype), _COARSE)
    needed = max(f.smallest_tolerance for f in figures)
    passed = needed <= allowed
    relation = "within" if passed else "more than"
    reason = f"Needs a tolerance of {needed:.1e}, {relation} the {allowed:.0e} of the dtype table ({distrust})."
    return _verdict(output, "faithful" if passed else "failed", "table", reason, pairs, figures)
