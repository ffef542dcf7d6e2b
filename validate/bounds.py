"""In what range an integer input has a meaning, whatever the model is stored in; and whether a model repeats itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xport.convert.source import Source
from xport.formats import Format
from xport.signature import Signature
from xport.validate.figures import rms, to_float64
from xport.validate.meaning import Bounds, integer_bounds

_RANDOM_ABOVE = 1e-3
_WATCHED = (Format.PYTORCH, Format.TORCHSCRIPT, Format.EXPORTED)


def find_bounds(source: Source, signature: Signature, call: Callable[..., Any]) -> dict[str, Bounds]:
    """The range in which each integer input has a meaning, from the graph or by watching the model.

    Args:
        source: A model.
        signature: Its inputs and outputs.
        call: Runs ``call("package.module:function", *arguments)`` where PyTorch may be loaded.

    Returns:
        Range by input name, for inputs where one was found; nothing for formats that nobody here can follow.
    """
    if not any(spec.dtype in ("int32", "int64") for spec in signature.inputs):
        return {}
    if source.format is Format.ONNX and source.path is not None:
        return integer_bounds(source.path)
    if source.format not in _WATCHED:
        return {}
    if source.live:
        from xport.validate.torch_bounds import table_bounds

        return table_bounds(source, signature)
    found: dict[str, Bounds] = call("xport.validate.torch_bounds:table_bounds", source, signature)
    return found


def random_output(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> str | None:
    """The output that differs between two runs of a model on the same inputs.

    Args:
        first: Outputs by name.
        second: Outputs of another run.

    Returns:
        Its name; None for a model that repeats itself up to rounding.
    """
    for name, one in first.items():
        other = second[name]
        if one.dtype.kind in "OSUT":
            continue
        if one.shape != other.shape:
            return name
        left, right = to_float64(one), to_float64(other)
        finite = np.isfinite(left) & np.isfinite(right)
        if rms(left[finite] - right[finite]) > _RANDOM_ABOVE * rms(left[finite]):
            return name
    return None
