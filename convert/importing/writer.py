"""Writes an ONNX graph operator by operator, with transposes only where they are needed.

A tensor remembers how it is stored (`Tensor.perm`): transposing costs nothing until an operator asks for the logical
order. Operators on constants are computed at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.importing.folding import evaluate
from xport.convert.importing.tensor import (
    Perm,
    Size,
    Tensor,
    channels_first,
    constant,
    inverse,
    onnx_type,
    simplified,
)
from xport.errors import UnsupportedError

OPSET = 20
"""The version of ONNX's operators that is written."""


DIMS, LIMIT = "dims", "limit"
"""What passes over the finished graph may know: a value's sizes, and a loop's number of turns."""


@dataclass(eq=False)
class Scope:
    """A graph in the making.

    Attributes:
        nodes: In order.
        transposed: Values stored in another order, by the value and the order.
        casted: Values of another type, by the value and the type.
    """

    nodes: list[ir.Node] = field(default_factory=list)
    transposed: dict[tuple[int, Perm], ir.Value] = field(default_factory=dict)
    casted: dict[tuple[int, str], ir.Value] = field(default_factory=dict)


class Writer:
    """Collects nodes and constants.

    Attributes:
        name: The source's name of what is being written; nodes are called after it.
    """

    def __init__(self) -> None:
        self.name = ""
        self.scopes = [Scope()]
        self.initializers: dict[str, ir.Value] = {}
        self._constants: dict[Any, tuple[Any, ir.Value]] = {}
        self._names: dict[str, int] = {}
        self._symbols = 0
        self._origins: dict[str, tuple[ir.Value, int, Scope]] = {}

    def fresh(self) -> str:
        """A symbol for a size that nothing is known about."""
        self._symbols += 1
        return f"?{self._symbols}"

    def remember(self, tensor: Tensor) -> None:
        """Learn where the symbols of a tensor's sizes can be read off, if nothing else tells yet."""
        if tensor.value is None or tensor.dims is None:
            return
        for axis, size in enumerate(tensor.dims):
            place = tensor.perm.index(axis) if tensor.perm else axis
            if isinstance(size, str) and self.origin(size) is None and not set("+-*") & set(size):
                self._origins[size] = (tensor.value, place, self.scopes[-1])

    def origin(self, symbol: str) -> tuple[ir.Value, int] | None:
        """A value and the stored axis of it that has the size; None if there is none in sight."""
        value, axis, scope = self._origins.get(symbol, (None, 0, None))
        return (value, axis) if value is not None and scope in self.scopes else None

    def unique(self, name: str) -> str:
        """A name that no value has yet."""
        while name in self._names:
            self._names[name] += 1
            name = f"{name}_{self._names[name]}"
        self._names[name] = 0
        return name

    def input(self, name: str, dtype: str, dims: Sequence[Size] | None) -> Tensor:
        """A value that the graph is given."""
        shape = None if dims is None else ir.Shape(dims)
        value = ir.Value(name=self.unique(name), type=ir.TensorType(onnx_type(dtype)), shape=shape)
        made = Tensor(dtype, None if dims is None else tuple(dims), value)
        self.remember(made)
        return made

    def emit(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        dtypes: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        *,
        domain: str = "",
    ) -> list[ir.Value]:
        """Append a node; returns a value for each of ``dtypes``."""
        name = self.unique(f"{self.name}/{op}" if self.name else op)
        suffixes = [""] + [f":{i}" for i in range(1, len(dtypes))]
        outputs = [
            ir.Value(name=self.unique(f"{name}_out{suffix}"), type=ir.TensorType(onnx_type(dtype)))
            for suffix, dtype in zip(suffixes, dtypes, strict=True)
        ]
        self.scopes[-1].nodes.append(ir.node(op, inputs, attributes or {}, domain=domain, outputs=outputs, name=name))
        return outputs

    def value(self, tensor: Tensor, *, wide: bool = False) -> ir.Value:
        """The ONNX value in logical order, of the tensor's own dtype (int64 for a wide one if ``wide``)."""
        return self.stored(tensor, (), wide=wide)

    def stored(self, tensor: Tensor, perm: Perm, *, wide: bool = False) -> ir.Value:
        """The ONNX value that stores the axes in an order."""
        if tensor.const is not None:
            array = tensor.const.astype(np.int64) if wide and tensor.dtype == "int32" else tensor.const
            return self._constant(array.transpose(perm) if perm else array, tensor)
        if tensor.value is None:
            raise UnsupportedError(f"{self.name}: {tensor.label or 'a value'} is no tensor.")
        value = tensor.value
        if not tensor.perm and tensor.dims is not None:
            value.meta.setdefault(DIMS, tensor.dims)
        if tensor.perm != perm:
            rank = tensor.rank or 0
            old = tensor.perm or tuple(range(rank))
            value = self._transposed(value, [old.index(axis) for axis in (perm or range(rank))], tensor.dtype)
        if tensor.wide and not wide:
            return self.cast_value(value, "int32")
        if wide and not tensor.wide and tensor.dtype == "int32":
            return self.cast_value(value, "int64")
        return value

    def _transposed(self, value: ir.Value, order: Sequence[int], dtype: str) -> ir.Value:
        key = (id(value), tuple(order))
        for scope in self.scopes:
            if key in scope.transposed:
                return scope.transposed[key]
        dtype = "int64" if value.dtype == ir.DataType.INT64 else dtype
        made = self.emit("Transpose", [value], [dtype], {"perm": list(order)})[0]
        self.scopes[-1].transposed[key] = made
        self.scopes[-1].transposed[id(made), inverse(order)] = value
        return made

    def cast_value(self, value: ir.Value, dtype: str) -> ir.Value:
        """A value of another type."""
        key = (id(value), dtype)
        for scope in self.scopes:
            if key in scope.casted:
                return scope.casted[key]
        made = self.emit("Cast", [value], [dtype], {"to": int(onnx_type(dtype))})[0]
        self.scopes[-1].casted[key] = made
        return made

    def int64(self, tensor: Tensor) -> ir.Value:
        """The ONNX value as int64, in logical order."""
        if tensor.const is not None:
            return self._constant(tensor.const.astype(np.int64), tensor)
        if tensor.dtype in ("int64", "int32"):
            return self.value(tensor, wide=True)
        return self.cast_value(self.value(tensor), "int64")

    def constant(self, array: Any, dtype: str | None = None) -> ir.Value:
        """A constant's ONNX value."""
        return self.value(constant(array, dtype))

    def _constant(self, array: np.ndarray, tensor: Tensor) -> ir.Value:
        if array.nbytes <= 1024 and array.dtype != object:
            key: Any = (array.dtype.str, array.dtype.name, array.shape, array.tobytes())
        else:
            key = (id(tensor.const), array.dtype.name, array.shape, array.strides)
        if key not in self._constants:
            name = self.unique(tensor.label or (f"{self.name}/const" if self.name else "const"))
            if array.dtype == object:
                flat = [x.encode() if isinstance(x, str) else bytes(x) for x in array.reshape(-1)]
                content: Any = ir.StringTensor(flat, shape=ir.Shape(array.shape), name=name)
            else:
                content = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
            value = ir.Value(
                name=name, type=ir.TensorType(content.dtype), shape=ir.Shape(array.shape), const_value=content
            )
            self.initializers[name] = value
            self._constants[key] = (tensor.const, value)  # kept alive: its id stays its own
        return self._constants[key][1]

    def op(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        dtypes: str | Sequence[str] = "",
        dims: Sequence[Size] | None = None,
        *,
        integers: bool = False,
        **attributes: Any,
    ) -> Any:
        """Append a node that takes its inputs in logical order.

        Args:
            op: ONNX's name of the operator.
            inputs: Its inputs; None for one that is left out.
            dtypes: The dtype of each output; one alone for one output; the first input's by default.
            dims: The sizes of the first output, where they are known.
            integers: int32 that is stored as int64 may stay so: all inputs have one type.
            **attributes: Its attributes.

        Returns:
            A tensor, or a list of them if ``dtypes`` is a list.
        """
        first = next(t for t in inputs if t is not None)
        names = [dtypes or first.dtype] if isinstance(dtypes, str) else list(dtypes)
        known = self._fold(op, inputs, names, attributes)
        if known is not None:
            return known[0] if isinstance(dtypes, str) else known
        wide = integers and self.stays_wide(inputs)
        values = [None if t is None else self.value(t, wide=wide) for t in inputs]
        kinds = ["int64" if wide and n == "int32" else n for n in names]
        made = self.emit(op, values, kinds, attributes)
        outputs = [
            Tensor(n, tuple(dims) if dims is not None and i == 0 else None, v, wide=wide and n == "int32")
            for i, (n, v) in enumerate(zip(names, made, strict=True))
        ]
        return outputs[0] if isinstance(dtypes, str) else outputs

    @staticmethod
    def stays_wide(inputs: Sequence[Tensor | None]) -> bool:
        """Whether int32 inputs can be computed with as int64: all are stored so, or are constants."""
        ints = [t for t in inputs if t is not None and t.dtype == "int32"]
        return any(t.wide for t in ints) and all(t.wide or t.const is not None for t in ints)

    def _fold(
        self, op: str, inputs: Sequence[Tensor | None], dtypes: Sequence[str], attributes: Mapping[str, Any]
    ) -> list[Tensor] | None:
        arrays = [None if t is None else t.const for t in inputs]
        if any(a is None for a, t in zip(arrays, inputs, strict=True) if t is not None):
            return None
        found = evaluate(op, arrays, len(dtypes), attributes, OPSET)
        if found is None:
            return None
        return [constant(a, d, label=self.name) for a, d in zip(found, dtypes, strict=True)]

    def choose(self, tensors: Sequence[Tensor]) -> Perm:
        """The order in which operands of one operator meet: channels-first if any has it, else the logical one."""
        known = [t for t in tensors if t.dims is not None]
        if len(known) < len(tensors):
            return ()
        rank = max(len(t.dims or ()) for t in known)
        perms = [t.perm for t in known if t.const is None and t.rank == rank]
        image = channels_first(rank) if rank > 2 else ()
        if image and image in perms:
            return image
        return perms[0] if perms and all(p == perms[0] for p in perms) else ()

    def aligned(self, tensor: Tensor, rank: int, perm: Perm, *, wide: bool = False) -> ir.Value:
        """An operand that is broadcast to ``rank`` axes stored in an order."""
        own = tensor.rank
        if not perm or own == 0 or own == rank:
            return self.stored(tensor, perm if own == rank else (), wide=wide)
        missing = rank - (own or 0)
        if tensor.const is not None:
            lifted = tensor.const.reshape((1,) * missing + tensor.const.shape)
            return self.stored(tensor.with_(const=lifted, dims=tuple(lifted.shape)), perm, wide=wide)
        value = self.value(tensor, wide=wide)
        dtype = "int64" if wide and tensor.dtype == "int32" else tensor.dtype
        if own == 1:
            place = perm.index(rank - 1)
            axes = list(range(1, rank - place))
            return self.emit("Unsqueeze", [value, self.constant(axes, "int64")], [dtype])[0] if axes else value
        lifted_value = self.emit("Unsqueeze", [value, self.constant(list(range(missing)), "int64")], [dtype])[0]
        return self._transposed(lifted_value, perm, tensor.dtype)

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        """Transpose, which is only remembered."""
        axes = [axis % (x.rank or 1) for axis in order]
        if x.const is not None:
            return constant(x.const.transpose(axes), label=x.label)
        perm = x.perm or tuple(range(len(axes)))
        dims = None if x.dims is None else tuple(x.dims[axis] for axis in axes)
        # Stored axis i holds the old logical axis perm[i], which is the new one whose order is perm[i].
        return x.with_(perm=simplified([axes.index(axis) for axis in perm]), dims=dims, elements=None)

    @contextlib.contextmanager
    def subgraph(self) -> Iterator[Scope]:
        """What is written in this block goes into a graph of its own, which sees the outer values."""
        scope = Scope()
        self.scopes.append(scope)
        try:
            yield scope
        finally:
            self.scopes.pop()

    def graph(self, inputs: Sequence[Tensor], outputs: Sequence[ir.Value], name: str) -> ir.Model:
        """The finished main graph as a model."""
        for node in self.scopes[0].nodes:
            for value in node.outputs:
                _tell_shape(value)
        graph = ir.Graph(
            [t.value for t in inputs if t.value is not None],
            outputs,
            nodes=self.scopes[0].nodes,
            initializers=list(self.initializers.values()),
            opset_imports={"": OPSET},
            name=name,
        )
        return ir.Model(graph, ir_version=9, producer_name="xport")


def _tell_shape(value: ir.Value) -> None:
    """Write down the sizes that are known of a value: ONNX's inference finds fewer."""
    dims: tuple[Size | None, ...] | None = value.meta.get(DIMS)
    if dims is not None and value.shape is None:
        value.shape = ir.Shape([None if isinstance(d, str) and "?" in d else d for d in dims])
