"""What an emitter sees of its node: inputs as constants, sizes or tensors, and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from xport.convert.writing.code import Code, Dims, Layer, Operand, Var
from xport.convert.writing.registry import refuse
from xport.convert.writing.sizes import Size, Sizes

if TYPE_CHECKING:
    from xport.convert.writing.translator import Translator


@dataclass(frozen=True)
class Permuted:
    """A tensor whose axes are in another order than those of the one that exists: nothing is computed before it must.

    Attributes:
        base: The one that exists.
        axes: For each axis, which one of the base it is.
    """

    base: Var
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Filled:
    """A tensor of one number everywhere.

    Attributes:
        value: The number.
        sizes: Its sizes.
    """

    value: np.ndarray
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Directions:
    """What a recurrent layer gives: ONNX has an axis of directions, PyTorch puts them into the features.

    Attributes:
        base: PyTorch's output, ``[batch, sequence, directions * hidden]``.
        count: 1 or 2 directions.
        axes: Where ONNX's axes (sequence, direction, batch, hidden) stand now.
    """

    base: Var
    count: int
    axes: tuple[int, ...] = (0, 1, 2, 3)


@dataclass(frozen=True)
class Item:
    """One of a tuple's tensors.

    Attributes:
        base: The tuple.
        position: Which one.
    """

    base: Var
    position: int


@dataclass(frozen=True)
class Parts:
    """A sequence of tensors of known length.

    Attributes:
        items: The tensors.
    """

    items: tuple[Var, ...]


Entry = Var | Item | Parts | Sizes | Permuted | Filled | Directions | np.ndarray | None
"""What a value is known as; None for an input that is left out."""


class NodeView:
    """One node, for its emitter.

    Args:
        translator: The running translation.
        node: The node.
    """

    def __init__(self, translator: Translator, node: ir.Node) -> None:
        self.translator = translator
        self.node = node

    @property
    def kind(self) -> str:
        """The operator."""
        return self.node.op_type

    @property
    def version(self) -> int:
        """The opset version of the node's domain."""
        return self.translator.version(self.node)

    def has(self, i: int) -> bool:
        """Whether input ``i`` is given."""
        return i < len(self.node.inputs) and self.node.inputs[i] is not None

    def wants(self, i: int) -> bool:
        """Whether output ``i`` is used."""
        if i >= len(self.node.outputs):
            return False
        value = self.node.outputs[i]
        return bool(value.uses()) or value.is_graph_output()

    @property
    def count(self) -> int:
        """How many inputs there are."""
        return len(self.node.inputs)

    def value(self, i: int) -> ir.Value:
        """The graph's value of input ``i``."""
        value = self.node.inputs[i] if i < len(self.node.inputs) else None
        if value is None:
            raise refuse(f"input {i} is missing")
        return value

    def entry(self, i: int) -> Entry:
        """What input ``i`` is known as."""
        return self.translator.entry(self.value(i)) if self.has(i) else None

    def const(self, i: int) -> np.ndarray | None:
        """Input ``i`` if it is a constant."""
        entry = self.entry(i)
        if isinstance(entry, Sizes) and entry.known:
            return np.asarray(entry.items[0] if entry.scalar else entry.items, np.int64)
        return entry if isinstance(entry, np.ndarray) else None

    def static(self, i: int, what: str) -> np.ndarray:
        """Input ``i``, which must be a constant."""
        found = self.const(i)
        if found is None:
            raise refuse(f"{what} is computed at run time")
        return found

    def ints(self, i: int, attribute: str, default: Sequence[int] | None = None) -> list[int] | None:
        """Integers that are an attribute in old versions and an input, which must be a constant, in newer ones."""
        if self.has(i):
            return [int(n) for n in self.static(i, attribute).reshape(-1)]
        found = self.attr(attribute)
        return list(default) if found is None and default is not None else found

    def sizes(self, i: int) -> list[Size]:
        """Input ``i`` as sizes, one by one."""
        return self.translator.sizes(self.value(i))

    def x(self, i: int = 0) -> Operand:
        """Input ``i`` as a tensor."""
        return self.translator.tensor(self.value(i))

    def operand(self, i: int, *, number: bool = True) -> Operand | int | float | bool:
        """Input ``i`` as a tensor, or as a Python number where that means the same."""
        return self.translator.operand(self.value(i), number=number)

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return default
        value = attribute.value
        return list(value) if isinstance(value, tuple | list) else value

    def shape(self, i: int = 0) -> Dims | None:
        """Known sizes of input ``i``."""
        return self.translator.dims(self.value(i))

    def rank(self, i: int = 0) -> int:
        """The rank of input ``i``, which must be known."""
        shape = self.shape(i)
        if shape is None:
            raise refuse(f"the rank of input {i} is not known")
        return len(shape)

    def axis(self, axis: int, i: int = 0) -> int:
        """An axis of input ``i`` counted from the front where the rank is known."""
        shape = self.shape(i)
        return axis if shape is None or axis >= 0 else axis + len(shape)

    def size(self, i: int, axis: int) -> Size:
        """One size of input ``i``."""
        return self.translator.size(self.value(i), axis)

    def dtype(self, i: int = 0) -> str | None:
        """The dtype's name of input ``i``."""
        return self.translator.dtype(self.value(i))

    def is_float(self, i: int = 0) -> bool:
        """Whether input ``i`` is known to be of floating point."""
        return (self.dtype(i) or "").startswith(("float", "bfloat"))

    def out_shape(self, i: int = 0) -> Dims | None:
        """Known sizes of output ``i``."""
        return self.translator.dims(self.node.outputs[i])

    def out_dtype(self, i: int = 0) -> str | None:
        """The dtype's name of output ``i``."""
        return self.translator.dtype(self.node.outputs[i])

    def device(self) -> Operand:
        """Where new tensors belong."""
        return self.translator.device(self.node)

    def weight(self, i: int) -> np.ndarray | None:
        """Input ``i`` if it is a constant that may become a layer's weight."""
        found = self.const(i)
        return None if found is None or found.dtype.kind not in "fV" or found.ndim == 0 else found

    def layer(
        self,
        kind: str,
        arguments: list[tuple[str, Any, Any]],
        weights: dict[str, tuple[int | None, np.ndarray]],
        *,
        positional: int = 2,
    ) -> Layer:
        """A layer of `torch.nn`; the same one for the same weights.

        Args:
            kind: Its class.
            arguments: Name, value and default of what its constructor takes.
            weights: By name in the layer, the input they come from (None if made up) and the array.
            positional: How many of the arguments are given by position.
        """
        return self.translator.layer(self.node, kind, arguments, weights, positional)

    def helper(self, name: str) -> str:
        """The name of a function that is written into the source beside the model."""
        self.translator.helpers.add(name)
        return name

    def emit(self, code: Code, *, dims: Dims | None = None, dtype: str | None = None, name: str = "") -> Var:
        """A statement of its own for a step on the way."""
        var = Var(name or code.name or "x", dims, dtype)
        self.translator.state([var], code, self.node)
        return var
