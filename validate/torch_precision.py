"""What a model of lower precision means, in float64, and how much its own arithmetic rounds.

Both are computed by PyTorch. What a model means is its graph with the weights that it stores, computed in double
precision; where the graph itself rounds (QuantizeLinear), that rounding is part of what it means. How much its
arithmetic rounds is found by computing it once more: in its own float type; or, where it rounds to integers, with that
rounding a little off; or, where a runtime rounds what products are given, with that done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from xport.convert.source import Source
from xport.convert.torch_loading import load_module
from xport.convert.torch_signature import call_module
from xport.formats import Format
from xport.signature import Signature
from xport.validate.precision import FLOAT, ROUNDING, Precision, coarsest
from xport.validate.torch_reference import ByName, Widen, run_wide, wide_module

Tensors = dict[str, np.ndarray]

_OFF = 0.125
"""How far from half-way a value may be and yet be rounded the other way.

One in sixteen is, which errs by a quarter of a step: about what rounding itself errs by (0.29 steps), and more than
fixed-point kernels and tables are off."""

_aten = torch.ops.aten
_FACTOR = {
    _aten.convolution.default: 0,
    _aten.mm.default: 0,
    _aten.bmm.default: 0,
    _aten.addmm.default: 1,
    _aten.baddbmm.default: 1,
}
"""By product, the place of what is not a weight."""


class RoundOtherwise(Widen):  # type: ignore[no-untyped-call]
    """Double precision where values close to half-way are rounded either way, always the same ones."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator."""
        if func is _aten.round.default and args[0].is_floating_point():
            wide = args[0].to(torch.float64)
            where = torch.rand(wide.shape, dtype=torch.float64, generator=self._generator).to(wide.device)
            return torch.floor(wide + 0.5 + (2 * where - 1) * _OFF)
        return super().__torch_dispatch__(func, types, args, kwargs)


class RoundFactors(Widen):  # type: ignore[no-untyped-call]
    """Double precision where what products are given is rounded to eight bits of its own range.

    So do the hybrid kernels of TFLite: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator."""
        place = _FACTOR.get(func)
        if place is not None and args[place].numel() and args[place].is_floating_point():
            wide = args[place].to(torch.float64)
            reach = max(float(wide.max()), 0.0) - min(float(wide.min()), 0.0)
            step = reach / 255 or 1.0
            args = (*args[:place], torch.round(wide / step) * step, *args[place + 1 :])
        return super().__torch_dispatch__(func, types, args, kwargs)


def module_precision(module: Any) -> Precision:
    """The precision of a loaded module of the PyTorch family, by its tensors, its classes, and a script's operators."""
    names = {str(t.dtype).removeprefix("torch.") for t in (*module.parameters(), *module.buffers())}
    floats = {name for name in names if name.startswith(("float16", "bfloat16", "float8"))}
    classes = {type(child).__module__ for child in module.modules()}
    script = str(getattr(module, "inlined_graph", "")) if isinstance(module, torch.jit.ScriptModule) else ""
    graph = str(getattr(getattr(module, "program", None), "graph", ""))
    quantized = any(".quantized" in name for name in classes) or "quantized::" in script or "quantized_decomp" in graph
    return Precision("int8", ROUNDING) if quantized else coarsest(floats)


def meaning_and_rounding(
    source: Source, signature: Signature, arithmetic: str, sets: Sequence[Mapping[str, np.ndarray]]
) -> list[tuple[Tensors, Tensors] | str]:
    """Compute what a model means, and once more with the rounding of its own arithmetic.

    Args:
        source: A source of the PyTorch family, or an ONNX model.
        signature: Its inputs and outputs.
        arithmetic: What it computes in; see `xport.validate.precision`.
        sets: Arrays by input name.

    Returns:
        For each set the outputs by name in float64 and as its own arithmetic rounds, or why it does not run there.

    Raises:
        XportError: If PyTorch cannot open it.
    """
    wide = wide_module(source, signature)
    narrow = _narrow_module(source, signature) if arithmetic == FLOAT else None
    found: list[tuple[Tensors, Tensors] | str] = []
    for inputs in sets:
        try:
            meant = run_wide(wide, signature, inputs)
            if narrow is not None:
                rounded = call_module(narrow, signature, inputs)
            else:
                mode = RoundOtherwise() if arithmetic == ROUNDING else RoundFactors()  # type: ignore[no-untyped-call]
                rounded = run_wide(wide, signature, inputs, mode)
            found.append((meant, rounded))
        except Exception as error:  # PyTorch's kernels raise anything; other sets may still run
            found.append(f"PyTorch does not run it: {type(error).__name__}: {error}")
    return found


def _narrow_module(source: Source, signature: Signature) -> nn.Module:
    if source.format is Format.ONNX and source.path is not None:
        from xport.convert.onnx_to_module import to_module

        return ByName(to_module(source.path), signature)
    return load_module(source)
