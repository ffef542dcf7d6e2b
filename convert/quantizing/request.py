"""What the user asked for: a precision, the data to calibrate with, and what must stay in float."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xport.errors import UnsupportedError, UsageError
from xport.formats import Format
from xport.validate.precision import LEAST

INT8, DYNAMIC = "int8", "dynamic"
QUANTIZATIONS = (DYNAMIC, INT8)
"""Weights in int8 and activations in float; both in int8."""

NARROW = ("float16", "bfloat16")

Data = str | Path | Mapping[str, np.ndarray]
"""Calibration data: a file, a folder, or arrays by input name."""

_COMPUTES_NARROW = (Format.SAVEDMODEL, Format.EXPORTED, Format.TORCHSCRIPT)
_TARGETS = {
    INT8: (Format.ONNX, Format.TFLITE),
    DYNAMIC: (Format.ONNX, Format.TFLITE),
    "float16": (Format.ONNX, Format.TFLITE, *_COMPUTES_NARROW),
    "bfloat16": (Format.ONNX, *_COMPUTES_NARROW),
}
_WHY_NOT = {
    (INT8, Format.SAVEDMODEL): "TensorFlow's own kernels have no int8 layers",
    (DYNAMIC, Format.SAVEDMODEL): "TensorFlow's own kernels have no int8 layers",
    (INT8, Format.EXPORTED): "PyTorch runs such a program in float with roundings between, slower than the original",
    (DYNAMIC, Format.EXPORTED): "PyTorch runs such a program in float, slower than the original",
    (INT8, Format.TORCHSCRIPT): "TorchScript's int8 layers are bound to one backend of one machine",
    (DYNAMIC, Format.TORCHSCRIPT): "TorchScript's int8 layers are bound to one backend of one machine",
    ("bfloat16", Format.TFLITE): "TensorFlow Lite's kernels do not take bfloat16",
}
_SOURCE_CODE = "source code is there to be read and trained, in float32"
_WITHOUT_CHOICE = {
    (DYNAMIC, Format.TFLITE): "TensorFlow's converter takes all layers or none",
    ("float16", Format.TFLITE): "TensorFlow's converter takes all weights or none",
}


@dataclass(frozen=True)
class Reduction:
    """A precision to bring a model to.

    Attributes:
        kind: ``int8``, ``dynamic``, ``float16`` or ``bfloat16``.
        calibration: The user's data, for ``int8``.
        keep_float: Names of nodes, paths of modules, or patterns of either.
        until_db: The SQNR to search for by leaving layers in float; None for no search.
    """

    kind: str
    calibration: Data | None = None
    keep_float: tuple[str, ...] = ()
    until_db: float | None = None

    @property
    def precision(self) -> str:
        """The name of the precision in `xport.validate.precision.LEAST`."""
        return self.kind if self.kind in NARROW else "int8"

    @property
    def least_db(self) -> float:
        """What must be left of the source's numbers."""
        least = LEAST[self.precision].sqnr_db
        return least if self.until_db is None else max(least, self.until_db)


def asked(
    *,
    dtype: str | None = None,
    quantize: str | None = None,
    calibration: Data | None = None,
    keep_float: Iterable[str] = (),
    until: str | float | None = None,
) -> Reduction | None:
    """Read what the user asked for.

    Args:
        dtype: ``float16`` or ``bfloat16``; ``float32`` and None ask for nothing.
        quantize: ``dynamic`` or ``int8``.
        calibration: Data for ``int8``.
        keep_float: What must stay in float.
        until: ``sqnr=30``, or the number of decibels.

    Returns:
        The reduction; None if none was asked for.

    Raises:
        UsageError: If the arguments contradict each other.
    """
    kept = tuple(keep_float)
    kind = quantize or (None if dtype == "float32" else dtype)
    if quantize and dtype not in (None, "float32"):
        raise UsageError("--dtype and --quantize exclude each other.", "Choose one of them.")
    if kind is None:
        if given := [n for n, v in (("calibration", calibration), ("keep-float", kept), ("until", until)) if v]:
            raise UsageError(
                f"--{given[0]} says how to reduce precision, and none is asked for.", "Add --quantize int8."
            )
        return None
    if kind not in (*QUANTIZATIONS, *NARROW):
        known = " or ".join(NARROW if quantize is None else QUANTIZATIONS)
        raise UsageError(f"{kind!r} is no precision that xport makes.", f"Choose {known}.")
    if calibration is not None and kind != INT8:
        raise UsageError(f"{kind} needs no calibration data.", "Leave --calibration out, or add --quantize int8.")
    if until is not None and kind != INT8:
        raise UsageError(f"--until searches among int8 layers, not for {kind}.", "Add --quantize int8.")
    return Reduction(kind, calibration, kept, None if until is None else _decibels(until))


def _decibels(until: str | float) -> float:
    found = re.fullmatch(r"\s*(?:sqnr\s*=)?\s*(\d+(?:\.\d*)?)\s*(?:db)?\s*", str(until), re.IGNORECASE)
    if found is None:
        raise UsageError(f"--until {until!r} is no threshold.", "Write the decibels that must be left: --until sqnr=30")
    return float(found[1])


def check_target(reduction: Reduction, target: Format) -> None:
    """Refuse what a format cannot hold.

    Raises:
        UnsupportedError: Naming the precision, the format and the reason.
    """
    kind = reduction.kind
    if target not in _TARGETS[kind]:
        why = _WHY_NOT.get((kind, target), _SOURCE_CODE)
        wanted = ", ".join(f.value for f in _TARGETS[kind])
        raise UnsupportedError(f"xport makes no {kind} {target.value}: {why}.", f"Targets for {kind} are {wanted}.")
    if reduction.keep_float and (kind, target) in _WITHOUT_CHOICE:
        raise UnsupportedError(
            f"--keep-float has no effect on {kind} {target.value}: {_WITHOUT_CHOICE[kind, target]}.",
            "Leave it out, convert to onnx, or use --quantize int8.",
        )


def to_json(reduction: Reduction) -> dict[str, Any]:
    """What the proof records of the request."""
    return {
        "kind": reduction.kind,
        "keep_float": list(reduction.keep_float),
        "until_db": reduction.until_db,
        "least_db": reduction.least_db,
    }
