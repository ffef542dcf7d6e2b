"""The table of TFLite's built-in operators that xport reads, and what their handlers are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xport.convert.importing import elementwise as e
from xport.convert.importing.tensor import Tensor
from xport.convert.importing.writer import Writer
from xport.errors import UnsupportedError

Result = Tensor | Sequence[Tensor]


@dataclass
class Call:
    """One operator of a TFLite graph.

    Attributes:
        w: The writer.
        reader: The `xport.convert.importing.tflite_graph.GraphReader` at work.
        kind: The operator's name.
        op: The schema's ``OperatorT``.
        graph: The ``SubGraphT`` it stands in.
        inputs: Its inputs; None where one is left out. Quantized ones are real numbers already.
    """

    w: Writer
    reader: Any
    kind: str
    op: Any
    graph: Any
    inputs: list[Tensor | None]

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self.input(0)

    @property
    def tensors(self) -> list[Tensor]:
        """The inputs that are there."""
        return [x for x in self.inputs if x is not None]

    def input(self, i: int) -> Tensor:
        """An input that must be there."""
        found = self.maybe(i)
        if found is None:
            raise self.refuse(f"input {i} is missing")
        return found

    def maybe(self, i: int) -> Tensor | None:
        """An input that may be left out."""
        return self.inputs[i] if i < len(self.inputs) else None

    def option(self, name: str, default: Any = None) -> Any:
        """An option of the operator."""
        found = getattr(self.op.builtinOptions, name, None)
        found = getattr(self.op.builtinOptions2, name, default) if found is None else found
        return default if found is None else found

    @property
    def dtype(self) -> str:
        """The dtype of the first output; of the real numbers, if it is quantized."""
        return str(self.reader.real_dtype(self.graph.tensors[self.op.outputs[0]]))

    @property
    def out_dims(self) -> Any:
        """The sizes of the first output, as far as the file tells."""
        return self.reader.sizes(self.graph.tensors[self.op.outputs[0]])

    def activated(self, x: Tensor) -> Tensor:
        """A value after the operator's fused activation."""
        name = self.reader.file.activations.get(self.option("fusedActivationFunction", 0), "?")
        if name == "NONE":
            return x
        if name in ("RELU", "RELU6", "RELU_N1_TO_1"):
            low, high = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[name]
            return e.clip(self.w, x, low, high)
        if name == "TANH":
            return e.apply(self.w, "Tanh", [x])
        raise self.refuse(f"the fused activation {name} has no ONNX form")

    def refuse(self, why: str) -> UnsupportedError:
        """The error for what ONNX cannot express exactly."""
        return UnsupportedError(f"TFLite operator {self.kind} ({self.w.name}): {why}.")


Handler = Callable[[Call], Result]

TABLE: dict[str, Handler] = {}
"""Handler by the name of the operator."""

MOVES_ONLY: set[str] = set()
"""Operators whose outputs hold values of their inputs and nothing else: what is on a grid stays on it."""


def op(*names: str, moves: bool = False) -> Callable[[Handler], Handler]:
    """Register a handler for operators.

    Args:
        *names: Their names.
        moves: Whether they only move values about.
    """

    def register(handler: Handler) -> Handler:
        for name in names:
            TABLE[name] = handler
        if moves:
            MOVES_ONLY.update(names)
        return handler

    return register
