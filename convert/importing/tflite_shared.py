"""TFLite's operators that mean what TensorFlow's do: its handlers write them, complex numbers included."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from xport.convert.importing import tf_complex, tf_matrices, tf_segments, tf_shapes, tf_spectra
from xport.convert.importing.tensor import Tensor
from xport.convert.importing.tf_registry import COMPLEX, TABLE
from xport.convert.importing.tf_registry import Call as TensorFlowCall
from xport.convert.importing.tflite_registry import Call, Result, op

SHARED = {
    "BROADCAST_ARGS": "BroadcastArgs",
    "COMPLEX_ABS": "ComplexAbs",
    "IMAG": "Imag",
    "MATRIX_DIAG": "MatrixDiag",
    "MATRIX_SET_DIAG": "MatrixSetDiag",
    "REAL": "Real",
    "RFFT2D": "RFFT2D",
    "SEGMENT_SUM": "SegmentSum",
    **{f"UNSORTED_SEGMENT_{kind.upper()}": f"UnsortedSegment{kind}" for kind in ("Max", "Min", "Prod", "Sum")},
}
"""TensorFlow's operator by TFLite's; none of them has options."""

_COMPLEX = ("COMPLEX_ABS", "IMAG", "REAL", "RFFT2D")
_FILLED = (tf_complex, tf_matrices, tf_segments, tf_shapes, tf_spectra)
"""The modules that fill TensorFlow's tables."""


class _Shared(TensorFlowCall):
    """A TFLite operator as TensorFlow's handlers see it."""

    def attr(self, name: str, default: Any = None) -> Any:
        """No option is set."""
        return default

    @property
    def dtype(self) -> str:
        """The dtype of the first output."""
        return str(self.op.kind)


@op(*SHARED)
def _shared(c: Call) -> Result:
    name = SHARED[c.kind]
    operation = SimpleNamespace(type=name, name=c.w.name, kind=c.dtype)
    table = COMPLEX if c.kind in _COMPLEX else TABLE
    return table[name](_Shared(c.w, c.reader, operation, c.tensors))


def by_parts(c: Call, handler: Any) -> Sequence[Tensor]:
    """An operator that only moves values, on both parts of complex numbers."""
    found = []
    for side in ("real", "imag"):
        inputs = [
            getattr(tf_complex.pair(x), side) if x is not None and x.dtype in tf_complex.REAL else x for x in c.inputs
        ]
        made = handler(Call(c.w, c.reader, c.kind, c.op, c.graph, inputs))
        found.append([made] if isinstance(made, Tensor) else list(made))
    return [tf_complex.joined(real, imag) for real, imag in zip(*found, strict=True)]
