"""Holds drawn cases against ONNX Runtime: a target gives its numbers, or refuses by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import event, note, reject, settings

from tests.operators.parity import Feeds, build, compare, declare_outputs, expected, node_model
from xport.errors import UnsupportedError

QUICK = ("savedmodel", "torch")
"""Targets that take milliseconds a case."""

PROFILE_EXAMPLES = 200
"""What the profile that every run uses draws where a test names no number."""


@dataclass
class Case:
    """One drawn node.

    Attributes:
        op: The operator.
        inputs: Its inputs; None for omitted ones.
        attributes: Its attributes.
        opset: The default domain's version.
        outputs: How many outputs are taken.
        constants: Positions of inputs that are initializers.
        symbolic: Whether every size of every other input is left open.
        rtol: Relative tolerance.
        steps: How far integer outputs may be apart.
    """

    op: str
    inputs: Sequence[np.ndarray | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 21
    outputs: int = 1
    constants: tuple[int, ...] = ()
    symbolic: bool = False
    rtol: float = 1e-5
    steps: int = 0

    def __repr__(self) -> str:
        shown = [None if x is None else f"{x.dtype}{x.shape}" if x.size > 12 else repr(x) for x in self.inputs]
        mode = f"constants={self.constants}, symbolic={self.symbolic}, outputs={self.outputs}"
        return f"{self.op}-{self.opset}({', '.join(map(str, shown))}, {self.attributes}; {mode})"

    @property
    def model(self) -> onnx.ModelProto:
        """The case as a model."""
        return node_model(
            self.op,
            self.inputs,
            self.attributes,
            opset=self.opset,
            outputs=self.outputs,
            constants=self.constants,
            symbolic=self.symbolic,
        )

    @property
    def feed(self) -> list[np.ndarray]:
        """The inputs that are given at run time."""
        return [x for i, x in enumerate(self.inputs) if x is not None and i not in self.constants]


@dataclass(frozen=True)
class Doubt:
    """Cases in which ONNX Runtime is no reference."""

    op: str
    reason: str
    applies: Callable[[Case], bool]


def _pads_by_itself(case: Case) -> bool:
    return (
        str(case.attributes.get("auto_pad", "")).startswith("SAME") and max(case.attributes.get("dilations", [1])) > 1
    )


def _rounds_up_valid(case: Case) -> bool:
    return case.attributes.get("auto_pad") == "VALID" and bool(case.attributes.get("ceil_mode"))


def _scales_to_fractions(case: Case) -> bool:
    scales = case.inputs[2] if len(case.inputs) > 2 else None
    if case.attributes.get("coordinate_transformation_mode") not in ("align_corners", "tf_crop_and_resize"):
        return False
    if case.op != "Resize" or scales is None or not scales.size:
        return False
    sizes = np.array(case.inputs[0].shape)[case.attributes.get("axes", slice(None))]
    return not np.allclose(scales * sizes, np.round(scales * sizes), atol=1e-3)


def _picks_from_nothing(case: Case) -> bool:
    return 0 in case.inputs[0].shape


def _ends_at_the_largest_integer(case: Case) -> bool:
    ends, steps = case.inputs[2:3], case.inputs[4:5]
    return bool(steps) and any(
        e == np.iinfo(ends[0].dtype).max and s < 0 for e, s in zip(ends[0], steps[0], strict=True)
    )


def _is_large(case: Case) -> bool:
    return any(
        x is not None and x.dtype.itemsize == 8 and x.dtype.kind in "iu" and _beyond_int32(x) for x in case.inputs
    )


def _beyond_int32(array: np.ndarray) -> bool:
    return any(abs(int(v)) >= 1 << 31 for v in array.reshape(-1))


POOLS = ("MaxPool", "AveragePool", "LpPool")

DOUBTS: tuple[Doubt, ...] = (
    *(Doubt(op, "SAME pads as if there were no dilation, so that the size changes", _pads_by_itself) for op in POOLS),
    *(Doubt(op, "VALID rounds up, where the specification's formula rounds down", _rounds_up_valid) for op in POOLS),
    Doubt("Resize", "corners lie at the fraction of a size, here less than there", _scales_to_fractions),
    *(Doubt(op, "the largest of nothing has any shape", _picks_from_nothing) for op in ("ArgMax", "ArgMin", "Hardmax")),
    Doubt("Slice", "the largest integer ends a backward slice before the first element", _ends_at_the_largest_integer),
    *(
        Doubt(op, "integers of 64 bits are compared by their lower halves in places", _is_large)
        for op in ("Max", "Min")
    ),
)
"""Where ONNX Runtime departs from the specification; what it refuses to run is left out by itself."""


def drawn(count: int) -> settings:
    """So many examples in an ordinary run, and in proportion under another profile."""
    return settings(max_examples=max(1, count * settings().max_examples // PROFILE_EXAMPLES))


def examine(case: Case, targets: Sequence[str] = QUICK) -> None:
    """Hold a case against ONNX Runtime; one that it does not run is no case.

    Args:
        case: The case.
        targets: Where to convert it to.
    """
    if any(d.op == case.op and d.applies(case) for d in DOUBTS):
        reject()
    note(repr(case))
    model = case.model
    try:
        answers = expected(model, case.feed)[0]
    except Exception:  # its errors have no common type, and say only that this is no model
        reject()
    hold(model, [case.feed], [answers], case.op, targets, rtol=case.rtol, steps=case.steps)


def hold(
    model: onnx.ModelProto,
    feeds: Sequence[Feeds],
    answers: Sequence[Sequence[np.ndarray]],
    name: str,
    targets: Sequence[str],
    *,
    rtol: float,
    steps: int = 0,
) -> None:
    """Convert a model and compare; refusing is right if the refusal names what it refuses.

    Args:
        model: The model.
        feeds: Inputs, once for each run.
        answers: The outputs wanted for each.
        name: What a refusal has to name; empty for any operator.
        targets: Where to convert it to.
        rtol: Relative tolerance; also that of the largest element, which sums cancel from.
        steps: How far integer outputs may be apart.
    """
    declare_outputs(model, answers[0], symbolic=len(feeds) > 1)
    for target in targets:
        try:
            run = build(model, target)
            for feed, wanted in zip(feeds, answers, strict=True):
                for got, want in zip(run(feed), wanted, strict=True):
                    compare(target, got, want, rtol, rtol * _largest(want), steps)
        except UnsupportedError as error:
            if name not in str(error):
                raise AssertionError("the refusal does not say what is refused") from error
            event(f"{target} refuses")


def _largest(array: np.ndarray) -> float:
    """The largest finite magnitude, and at least one tenth."""
    if array.dtype.kind in "biuO" or not array.size:
        return 0.1
    wide = np.abs(array.astype(np.float64))
    return float(np.max(wide, initial=0.1, where=np.isfinite(wide)))
