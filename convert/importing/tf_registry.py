"""The table of TensorFlow operators that xport reads, and what their handlers are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xport.convert.importing.tensor import Tensor
from xport.convert.importing.writer import Writer
from xport.errors import UnsupportedError

Result = Tensor | Sequence[Tensor]


@dataclass
class Call:
    """One operator of a TensorFlow graph.

    Attributes:
        w: The writer.
        reader: The `xport.convert.importing.tf_graph.GraphReader` at work, for operators that call functions.
        op: The ``tf.Operation``.
        inputs: Its inputs.
        values: What the graph's tensors are, by their names, as far as it is read.
    """

    w: Writer
    reader: Any
    op: Any
    inputs: list[Tensor]
    values: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self.inputs[0]

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute; text as text, dtypes by name, function attributes as they are."""
        if name not in self.op.node_def.attr:
            return default
        value = self.op.get_attr(name)
        if isinstance(value, bytes):
            return value.decode()
        return value.name if type(value).__name__ == "DType" else value

    @property
    def dtype(self) -> str:
        """The dtype of the first output."""
        return str(self.op.outputs[0].dtype.base_dtype.name)

    def refuse(self, why: str) -> UnsupportedError:
        """The error for what ONNX cannot express exactly."""
        return UnsupportedError(f"TensorFlow operator {self.op.type} ({self.op.name}): {why}.")


Handler = Callable[[Call], Result]

TABLE: dict[str, Handler] = {}
"""Handler by TensorFlow's name of the operator."""

COMPLEX: dict[str, Handler] = {}
"""The same for operators that take or give complex numbers."""


def is_complex(operation: Any) -> bool:
    """Whether a ``tf.Operation`` takes or gives complex numbers."""
    return any(t.dtype.is_complex for t in (*operation.inputs, *operation.outputs))


def handler_of(operation: Any) -> Handler | None:
    """What reads a ``tf.Operation``; None if nothing does."""
    return (COMPLEX if is_complex(operation) else TABLE).get(operation.type)


def op(*names: str, table: dict[str, Handler] = TABLE) -> Callable[[Handler], Handler]:
    """Register a handler for operators."""

    def register(handler: Handler) -> Handler:
        table.update(dict.fromkeys(names, handler))
        return handler

    return register
