"""Reads a TFLite graph into ONNX; quantized values become QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import (
    tflite_control,  # noqa: F401  (these six fill the table)
    tflite_elementwise,  # noqa: F401
    tflite_layers,  # noqa: F401
    tflite_recurrent,  # noqa: F401
    tflite_shapes,  # noqa: F401
    tflite_shared,
)
from xport.convert.importing.advice import advice
from xport.convert.importing.tensor import Perm, Size, Tensor, constant, simplified
from xport.convert.importing.tflite_file import File, Quantization, text
from xport.convert.importing.tflite_registry import MOVES_ONLY, TABLE, Call
from xport.convert.importing.writer import Writer
from xport.errors import UnsupportedError
from xport.signature import numpy_dtype

_WIDE = ("int16", "int64")
"""What ONNX's own quantization does not take at the version of its operators that is written."""
_LARGE = 1024
"""Bytes from which a stored constant keeps its small dtype, with a node that widens it."""


class GraphReader:
    """Reads the graphs of a file.

    Args:
        writer: What is written to.
        file: The file.
    """

    def __init__(self, writer: Writer, file: File) -> None:
        self.writer = writer
        self.file = file

    def check(self) -> None:
        """Name every operator that is missing, all at once, before work begins.

        Raises:
            UnsupportedError: Listing the operators with the tensors that they make.
        """
        missing: dict[str, list[str]] = defaultdict(list)
        for graph in self.file.model.subgraphs:
            for op in graph.operators or ():
                kind = self.file.operator(op)
                if kind not in TABLE:
                    outputs = op.outputs if op.outputs is not None else ()
                    names = [text(graph.tensors[i].name) for i in outputs if i >= 0]
                    missing[kind].append(names[0] if names else "no output")
        if missing:
            rows = [
                f"  {kind}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
                for kind, names in sorted(missing.items())
            ]
            flex = any(kind.startswith("CUSTOM:Flex") for kind in missing)
            why = " (CUSTOM:Flex… are TensorFlow's own, CUSTOM others)" if flex else ""
            raise UnsupportedError(
                f"TFLite operators that xport cannot write as ONNX{why}:\n" + "\n".join(rows),
                advice(missing, "Convert the model that this file was made from instead."),
            )

    def run(self, index: int, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Read one graph.

        Args:
            index: Its number.
            inputs: What it is given; real numbers where it takes quantized ones.

        Returns:
            What it gives, likewise.
        """
        graph = self.file.model.subgraphs[index]
        values: dict[int, Tensor] = dict(zip(map(int, graph.inputs), inputs, strict=True))
        for op in graph.operators or ():
            self._operator(graph, op, values)
        outputs = graph.outputs if graph.outputs is not None else ()
        return [self._value(graph, int(i), values) for i in outputs]

    def _operator(self, graph: Any, op: Any, values: dict[int, Tensor]) -> None:
        kind = self.file.operator(op)
        before, self.writer.name = self.writer.name, text(graph.tensors[op.outputs[0]].name)
        try:
            given = op.inputs if op.inputs is not None else ()
            inputs = [None if i < 0 else self._value(graph, int(i), values) for i in given]
            call = Call(self.writer, self, kind, op, graph, inputs)
            parts = kind in MOVES_ONLY and any(x is not None and x.dtype.startswith("complex") for x in inputs)
            made = tflite_shared.by_parts(call, TABLE[kind]) if parts else TABLE[kind](call)
            results = [made] if isinstance(made, Tensor) else made
            for i, result in zip(op.outputs, results, strict=False):
                values[int(i)] = self._placed(graph.tensors[i], result, kind)
        finally:
            self.writer.name = before

    def _value(self, graph: Any, i: int, values: dict[int, Tensor]) -> Tensor:
        if i not in values:
            tensor = graph.tensors[i]
            if not self.file.has_data(tensor):
                if 0 in self.file.sizes(tensor):
                    shape = [max(d, 0) for d in self.file.sizes(tensor)]
                    return constant(np.zeros(shape, numpy_dtype(self.file.dtype(tensor))))
                raise UnsupportedError(
                    f"{self.file.path}: {text(tensor.name)!r} is used before it is computed.",
                    "Models that keep a state between runs cannot be converted.",
                )
            values[i] = self.stored(tensor, ())
        return values[i]

    def stored(self, tensor: Any, order: Perm) -> Tensor:
        """A constant of the file as real numbers, stored in an order of its axes.

        Args:
            tensor: The constant.
            order: The order to store it in; ``()`` for its own.
        """
        array, label = self.file.array(tensor), text(tensor.name)
        grid = self.file.quantization(tensor)
        if grid is None:
            return constant(array, label=label)
        if grid.dtype in ("int4", "uint4", "int2"):
            grid = Quantization("uint8" if grid.dtype == "uint4" else "int8", grid.scale, grid.zero, grid.axis)
        moved = array.transpose(order) if order else array
        axis = order.index(grid.axis) if order and len(grid.scale) > 1 else grid.axis
        whole = constant(np.ascontiguousarray(moved), label=f"{label}_quantized")
        real = self.dequantized(whole, Quantization(grid.dtype, grid.scale, grid.zero, axis))
        dims = tuple(int(d) for d in array.shape)
        if real.const is not None:
            content = real.const.transpose(np.argsort(order)) if order else real.const
            return constant(content, label=label)
        return real.with_(dims=dims, perm=simplified(order))

    def dequantized(self, x: Tensor, grid: Quantization) -> Tensor:
        """Integers as the real numbers that they stand for."""
        if x.const is not None and (x.const.nbytes < _LARGE or grid.dtype in _WIDE):
            return constant(_real(x.const, grid), label=x.label)
        if grid.dtype in _WIDE:
            return self._times_scale(e.cast(self.writer, x, "float32"), grid)
        scale, zero = self._grid(grid)
        attributes = {"axis": grid.axis} if len(grid.scale) > 1 else {}
        value = self.writer.emit(
            "DequantizeLinear", [self.writer.value(x), self.writer.value(scale), self.writer.value(zero)], ["float32"],
            attributes,
        )[0]  # fmt: skip
        return Tensor("float32", x.dims, value, extra=grid)

    def quantized(self, x: Tensor, grid: Quantization) -> Tensor:
        """Real numbers as the integers that stand for them; the nearest, halves to even."""
        if grid.dtype in _WIDE:
            return e.cast(self.writer, self._rounded(x, grid), grid.dtype)
        scale, zero = self._grid(grid)
        inputs = [self.writer.stored(x, x.perm), self.writer.value(scale), self.writer.value(zero)]
        axis = x.perm.index(grid.axis) if x.perm else grid.axis
        attributes = {"axis": axis} if len(grid.scale) > 1 else {}
        value = self.writer.emit("QuantizeLinear", inputs, [grid.dtype], attributes)[0]
        return Tensor(grid.dtype, x.dims, value, x.perm)

    def on_grid(self, x: Tensor, grid: Quantization) -> Tensor:
        """Real numbers rounded to those that integers stand for."""
        if grid.dtype in _WIDE:
            return self._times_scale(self._rounded(x, grid), grid)
        whole = self.quantized(x, grid)
        scale, zero = self._grid(grid)
        inputs = [self.writer.stored(whole, x.perm), self.writer.value(scale), self.writer.value(zero)]
        axis = x.perm.index(grid.axis) if x.perm else grid.axis
        attributes = {"axis": axis} if len(grid.scale) > 1 else {}
        value = self.writer.emit("DequantizeLinear", inputs, ["float32"], attributes)[0]
        return Tensor("float32", x.dims, value, x.perm, extra=grid)

    def _rounded(self, x: Tensor, grid: Quantization) -> Tensor:
        """The integers that stand for real numbers, as floats."""
        w, limits = self.writer, np.iinfo(numpy_dtype(grid.dtype))
        scale, zero = _along(grid, x.rank or 0)
        scaled = e.apply(w, "Round", [e.apply(w, "Div", [x, constant(scale)])])
        return e.clip(w, e.apply(w, "Add", [scaled, constant(zero)]), float(limits.min), float(limits.max))

    def _times_scale(self, x: Tensor, grid: Quantization) -> Tensor:
        """The real numbers that integers stand for."""
        scale, zero = _along(grid, x.rank or 0)
        made = e.apply(self.writer, "Mul", [e.apply(self.writer, "Sub", [x, constant(zero)]), constant(scale)])
        return made.with_(extra=grid)

    @staticmethod
    def _grid(grid: Quantization) -> tuple[Tensor, Tensor]:
        one = len(grid.scale) == 1
        scale = grid.scale.reshape(()) if one else grid.scale
        zero = grid.zero.astype(numpy_dtype(grid.dtype))
        return constant(scale, "float32"), constant(zero.reshape(()) if one else zero)

    def _placed(self, tensor: Any, made: Tensor, kind: str) -> Tensor:
        """An operator's result, with what the file says about it."""
        theirs = self.sizes(tensor)
        if made.const is None and theirs is not None:
            own = made.dims
            if own is None or len(own) != len(theirs):
                made = made.with_(dims=theirs) if own is None else made
            else:
                dims = tuple(
                    a if isinstance(a, int) or isinstance(b, str) else b for a, b in zip(own, theirs, strict=True)
                )
                made = made.with_(dims=dims)
        grid = self.file.quantization(tensor)
        if grid is None or made.dtype != "float32":
            return made
        if kind in MOVES_ONLY and isinstance(made.extra, Quantization) and made.extra.same(grid):
            return made
        return self.on_grid(made, grid)

    def sizes(self, tensor: Any) -> tuple[Size, ...]:
        """A tensor's sizes; fresh symbols where they may vary."""
        return tuple(self.writer.fresh() if d < 0 else d for d in self.file.sizes(tensor))

    def real_dtype(self, tensor: Any) -> str:
        """A tensor's dtype, of the real numbers if it is quantized."""
        return "float32" if self.file.quantization(tensor) is not None else self.file.dtype(tensor)


def _refined(own: tuple[Size, ...] | None, theirs: tuple[Size, ...]) -> tuple[Size, ...]:
    """Sizes that were worked out, with the numbers that the file knows besides."""
    if own is None:
        return theirs
    if len(own) != len(theirs):
        return own
    return tuple(a if isinstance(a, int) or isinstance(b, str) else b for a, b in zip(own, theirs, strict=True))


def _real(array: np.ndarray, grid: Quantization) -> np.ndarray:
    scale, zero = _shaped(grid, array.ndim)
    real: np.ndarray = (array.astype(np.int64) - zero).astype(np.float32) * scale
    return real.astype(np.float32)


def _shaped(grid: Quantization, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero, to be broadcast to ``rank`` axes."""
    shape = [1] * rank
    if len(grid.scale) > 1:
        shape[grid.axis] = len(grid.scale)
    return (grid.scale.reshape(shape), grid.zero.reshape(shape)) if rank else (grid.scale[0], grid.zero[0])


def _along(grid: Quantization, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The same as floats, without axes for one scale."""
    scale, zero = _shaped(grid, rank if len(grid.scale) > 1 else 0)
    return np.asarray(scale, np.float32), np.asarray(zero, np.float32)
