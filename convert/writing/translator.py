"""From an ONNX graph to statements: values get entries, nodes get statements, constants become weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering import model as onnx_model
from xport.convert.lowering.interpreter import dims_of, dtype_name
from xport.convert.writing import registry, scopes
from xport.convert.writing.code import Code, Device, Dim, Dims, Layer, Operand, Var, call, index, literal, method, plain
from xport.convert.writing.control import Control, Region
from xport.convert.writing.names import identifier
from xport.convert.writing.node import Directions, Entry, Filled, Item, NodeView, Permuted
from xport.convert.writing.scopes import Path
from xport.convert.writing.sizes import Size, Sizes
from xport.errors import UnsupportedError

KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
"""Where `torch.onnx` records what an initializer was in the original."""
_LITERAL_KINDS = "fiub"
_TINY = 16
"""An integer constant of at most this many elements is written into the source instead of a buffer."""


@dataclass(eq=False)
class Statement:
    """Some results of one expression.

    Attributes:
        outs: The results; several for an expression that gives a tuple.
        code: The expression.
        scope: The module of the original that it stood in.
    """

    outs: list[Var]
    code: Code
    scope: Path


@dataclass
class Weight:
    """A tensor that a module holds by itself.

    Attributes:
        array: Its content.
        trained: Whether it is a parameter.
    """

    array: Any
    trained: bool


@dataclass
class Program:
    """A translated graph.

    Attributes:
        inputs: The inputs, in order.
        outputs: The outputs, in order.
        statements: In the graph's order.
        layers: Layers by dotted name.
        weights: Weights that no layer holds, by variable.
        helpers: Names of functions that the statements call.
        classes: By dotted name of a module of the original, the name of its class.
    """

    inputs: list[Var]
    outputs: list[Var]
    statements: list[Statement] = field(default_factory=list)
    layers: dict[Path, Layer] = field(default_factory=dict)
    weights: dict[Var, Weight] = field(default_factory=dict)
    helpers: set[str] = field(default_factory=set)
    classes: dict[Path, str] = field(default_factory=dict)


class Translator:
    """One translation.

    Args:
        model: The model, prepared by `xport.convert.writing.preparing`.
        constants: Content of every value that is known without running it.
    """

    def __init__(self, model: ir.Model, constants: dict[ir.Value, np.ndarray]) -> None:
        self._model = model
        self._constants = constants
        self._entries: dict[ir.Value, Entry] = {}
        self._weights: dict[ir.Value, Var] = {}
        self._tensors: dict[ir.Value, Var] = {}
        self._layers: dict[Any, Layer] = {}
        self._owners: dict[ir.Value, tuple[Layer, str, np.ndarray]] = {}
        self.absorbed: dict[ir.Node, int] = {}
        self._scopes = scopes.Scopes(model.graph)
        kinds = (value.metadata_props.get(KIND) for value in model.graph.initializers.values())
        self._recorded = "PARAMETER" in kinds
        self._current: ir.Node | None = None
        self._problems: list[str] = []
        self.program = Program([], [])
        self.helpers = self.program.helpers
        self._regions = [Region(statements=self.program.statements)]
        self._homes: dict[ir.Value, Region] = {}

    def run(self) -> Program:
        """Translate the graph.

        Raises:
            UnsupportedError: If something cannot be written as source, with operator and node; all such at once.
        """
        graph = self._model.graph
        for value in onnx_model.fed_inputs(graph):
            var = Var(value.name or "x", dims_of(value), self.dtype(value))
            self._entries[value] = var
            self.program.inputs.append(var)
        self.nodes(graph)
        if self._problems:
            raise UnsupportedError(
                "This model cannot be written as PyTorch source:\n" + "\n".join(self._problems[:40]),
                "Replace these in the source model, or convert it to torchscript or exported instead.",
            )
        for value in graph.outputs:
            self._current = value.producer()
            self.program.outputs.append(self._as_var(value))
        self.program.classes = self._scopes.classes
        return self.program

    def nodes(self, graph: ir.Graph) -> None:
        """Translate the nodes of a graph where the translation is."""
        for node in graph:
            try:
                self._node(node)
            except UnsupportedError as error:
                self._problems.append(f"  {node.op_type} {node.name or 'unnamed node'}: {error.message}")
                for value in node.outputs:  # go on, to tell of everything at once
                    self._entries[value] = Var(value.name or "x", dims_of(value), self.dtype(value))

    def region(self, graph: ir.Graph, takes: list[Entry], *, skip: int = 0) -> Region:
        """Translate a graph that runs under a condition or many times.

        Args:
            graph: The graph.
            takes: What its inputs are known as.
            skip: How many of its first outputs are left out.

        Returns:
            Its statements; what it takes is the caller's to say.
        """
        region, outside = Region(), self._current
        self._regions.append(region)
        for value, entry in zip(graph.inputs, takes, strict=True):
            self._entries[value], self._homes[value] = entry, region
        self.nodes(graph)
        for value in graph.outputs[skip:]:
            self._current = value.producer() or outside
            region.gives.append(self.tensor(value))
        self._regions.pop()
        self._current = outside
        return region

    def _node(self, node: ir.Node) -> None:
        if all(value in self._constants for value in node.outputs if value.name):
            return
        self._homes.update(dict.fromkeys(node.outputs, self._regions[-1]))
        if node in self.absorbed:
            self._entries[node.outputs[0]] = self._entries[node.inputs[self.absorbed[node]]]  # type: ignore[index]
            return
        self._current = node
        emitter = registry.find(node.domain, node.op_type, self.version(node))
        if emitter is None:
            raise registry.refuse("no emitter")
        made = emitter(NodeView(self, node))
        if isinstance(made, Code) and len(node.outputs) > 1:
            outs = [self.variable(value) for value in node.outputs]
            self.state(outs, made, node)
            made = outs
        results = made if isinstance(made, list) else [made]
        for value, result in zip(node.outputs, results, strict=False):
            self._entries[value] = self._statement(value, result, node) if isinstance(result, Code) else result

    def variable(self, value: ir.Value, name: str = "") -> Var:
        """A variable for a value, which a statement of the caller's makes."""
        return Var(name or "x", dims_of(value), self.dtype(value))

    def _statement(self, value: ir.Value, code: Code, node: ir.Node) -> Var:
        var = self.variable(value, code.name)
        self.state([var], code, node)
        return var

    def state(
        self,
        outs: list[Var],
        code: Code,
        node: ir.Node | None = None,
        *,
        scope: Path | None = None,
        region: Region | None = None,
    ) -> Path:
        """Add a statement.

        Args:
            outs: What it gives.
            code: The expression.
            node: In whose scope it is to stand; the one being translated by default.
            scope: In which scope, if that is known.
            region: Where to; where the translation is by default.

        Returns:
            The scope: that of the node, or the one around all layers that are called.
        """
        if scope is None:
            where = node or self._current
            own = self._scopes.of(where) if where is not None else ()
            holders = [item.path[:-1] for item in code.operands() if isinstance(item, Layer)]
            scope = scopes.around([own, *holders] if isinstance(code, Control) else holders[:1] or [own])
        (region or self._regions[-1]).statements.append(Statement(outs, code, scope))
        return scope

    # What values are

    def version(self, node: ir.Node) -> int:
        """The opset version of a node's domain."""
        return self._model.opset_imports.get(node.domain, 1)

    def entry(self, value: ir.Value) -> Entry:
        """What a value is known as."""
        if value in self._entries:
            return self._entries[value]
        if value in self._constants:
            return self._constants[value]
        raise registry.refuse(f"{value.name!r} is used before it is made")

    def dims(self, value: ir.Value) -> Dims | None:
        """Known sizes of a value."""
        if value in self._constants:
            return tuple(self._constants[value].shape)
        return dims_of(value)

    def dtype(self, value: ir.Value) -> str | None:
        """The dtype's name of a value."""
        if value in self._constants:
            return str(self._constants[value].dtype)
        return None if value.dtype is None else dtype_name(value.dtype)

    def size(self, value: ir.Value, axis: int) -> Size:
        """One size of a value: a number where it is known."""
        dims = self.dims(value)
        known = dims[axis] if dims is not None else None
        if isinstance(known, int):
            return known
        entry = self.entry(value)
        if isinstance(entry, Filled):
            return entry.sizes[axis]
        if isinstance(entry, Permuted):
            return Dim(entry.base, entry.axes[axis], known or None)
        place = axis + len(dims) if dims is not None and axis < 0 else axis
        return Dim(self._as_var(value), place, known or None)

    def sizes(self, value: ir.Value) -> list[Size]:
        """The elements of an integer value, one by one."""
        entry = self.entry(value)
        if isinstance(entry, Sizes):
            return list(entry.items)
        if isinstance(entry, np.ndarray):
            return [int(n) for n in entry.reshape(-1)]
        dims = self.dims(value)
        var = self._as_var(value)
        if dims == ():
            return [method(var, "item")]
        if dims is None or len(dims) != 1 or not isinstance(dims[0], int):
            raise registry.refuse("sizes are computed at run time, and not even their number is known")
        return [method(index(var, [i]), "item") for i in range(dims[0])]

    def tensor(self, value: ir.Value) -> Operand:
        """A value as a tensor."""
        entry = self.entry(value)
        if isinstance(entry, np.ndarray) and self._written_down(entry):
            return self._literal_tensor(entry)
        return self._as_var(value)

    def operand(self, value: ir.Value, *, number: bool = True) -> Operand | int | float | bool:
        """A value as a tensor, or as a number where that is the same."""
        entry = self.entry(value)
        if number and isinstance(entry, np.ndarray) and entry.size == 1 and entry.dtype.kind in _LITERAL_KINDS:
            return python_number(entry)
        if number and isinstance(entry, Filled) and entry.value.dtype.kind in _LITERAL_KINDS:
            return python_number(entry.value)
        if number and isinstance(entry, Sizes) and entry.scalar:
            return entry.items[0]
        return self.tensor(value)

    def _written_down(self, array: np.ndarray) -> bool:
        return (array.dtype.kind in "iub" and array.size <= _TINY) or (array.ndim == 0 and array.dtype.kind == "f")

    def _literal_tensor(self, array: np.ndarray) -> Code:
        named: dict[str, Any] = {} if array.dtype.name in ("int64", "bool") else {"dtype": dtype_code(array.dtype.name)}
        content = literal(array.tolist() if array.dtype.kind != "f" else python_number(array))
        code = call("torch.tensor", content, **named, device=self.device(self._current))
        return code if array.size else method(code, "reshape", tuple(array.shape))

    def device(self, node: ir.Node | None) -> Operand:
        """Where new tensors belong: where the first tensor is that a node can see."""
        for value in node.inputs if node is not None else ():
            entry = self._entries.get(value) if value is not None else None
            base = entry.base if isinstance(entry, Permuted | Directions) else entry
            if isinstance(base, Var):
                return Device(base)
        if self.program.inputs:
            return Device(self.program.inputs[0])
        return plain('"cpu"')

    def _as_var(self, value: ir.Value) -> Var:
        entry = self.entry(value)
        if isinstance(entry, Var):
            return entry
        if isinstance(entry, np.ndarray):
            return self._weight(value, entry)
        if value not in self._tensors:
            made, home = self.variable(value), self._homes.get(value, self._regions[0])
            inside = home is self._regions[-1]
            code = self._materialised(entry, self._current if inside else None)
            self.state([made], code, None if inside else value.producer(), region=home)
            self._tensors[value] = made
        return self._tensors[value]

    def _materialised(self, entry: Entry, node: ir.Node | None) -> Code:
        if isinstance(entry, Permuted):
            return permute(entry.base, entry.axes)
        if isinstance(entry, Directions):
            return _with_directions(entry)
        if isinstance(entry, Item):
            return index(entry.base, [entry.position])
        device = self.device(node)
        if isinstance(entry, Filled):
            name = entry.value.dtype.name
            return call("torch.full", entry.sizes, python_number(entry.value), dtype=dtype_code(name), device=device)
        if isinstance(entry, Sizes):
            content = entry.items[0] if entry.scalar else list(entry.items)
            return call("torch.tensor", content, dtype=dtype_code("int64"), device=device)
        raise registry.refuse("an input is missing" if entry is None else "a sequence where a tensor is expected")

    # Weights

    def _weight(self, value: ir.Value, array: np.ndarray) -> Var:
        """A constant as a parameter or a buffer of the module that its name tells."""
        origin = value
        if origin not in self._weights:
            path = self._scopes.weight_path(
                value, self._current, trained=trained(value, array, recorded=self._recorded)
            )
            var = Var("weight", tuple(array.shape), array.dtype.name, self._free(path))
            self._weights[origin] = var
            self.program.weights[var] = Weight(array, trained(value, array, recorded=self._recorded))
        return self._weights[origin]

    def _free(self, path: Path) -> Path:
        taken = {var.path for var in self.program.weights} | set(self.program.layers)
        number, name = 1, path
        while name in taken:
            number += 1
            name = (*path[:-1], f"{path[-1]}_{number}")
        return name

    def layer(
        self,
        node: ir.Node,
        kind: str,
        arguments: list[tuple[str, Any, Any]],
        weights: dict[str, tuple[Any, np.ndarray]],
        positional: int,
    ) -> Layer:
        """A layer with weights; see `NodeView.layer`."""
        values = {
            name: node.inputs[i] if isinstance(i, int) else i for name, (i, _) in weights.items() if i is not None
        }
        key = (kind, repr(arguments), tuple((name, id(value)) for name, value in values.items()))
        if key not in self._layers:
            path = self._free(self._scopes.layer_path(node, kind, [v for v in values.values() if v is not None]))
            arrays = {name: array for name, (_, array) in weights.items()}
            made = Layer(path, kind, arguments, arrays, positional)
            self._layers[key] = self.program.layers[path] = made
            for name, value in values.items():
                if value is not None:
                    self._owners.setdefault(scopes.origin(value), (made, name, arrays[name]))
        return self._layers[key]

    def known(self, value: ir.Value | None) -> np.ndarray | None:
        """A value's content if it is a constant."""
        return None if value is None else self._constants.get(value)

    def owner(self, value: ir.Value, array: np.ndarray) -> tuple[Layer, str] | None:
        """The layer that holds exactly this content of the same weight already."""
        found = self._owners.get(scopes.origin(value))
        if found is None or found[2].shape != array.shape or not np.array_equal(found[2], array):
            return None
        return found[0], found[1]

    def shared(self, node: ir.Node, i: int, kind: str) -> bool:
        """Whether a weight is used by something else than layers of one kind: then it has to stay by itself."""
        value = node.inputs[i]
        others = [] if value is None else [u for u in value.uses() if u.node.op_type != kind or u.idx != i]
        return any(not all(out in self._constants for out in use.node.outputs) for use in others)


def _with_directions(entry: Directions) -> Code:
    code: Code = method(entry.base, "unflatten", -1, (entry.count, -1))
    order = [1, 2, 0, 3]  # of [batch, sequence, direction, hidden]: sequence, direction, batch, hidden
    return method(code, "permute", *(order[axis] for axis in entry.axes))


def permute(x: Operand, axes: Sequence[int]) -> Code:
    """``x`` with its axes in another order, written as a person would."""
    moved = [i for i, axis in enumerate(axes) if i != axis]
    if len(moved) == 2:
        first, second = moved
        if second >= len(axes) - 2 and len(axes) > 2:
            return method(
                x,
                "transpose",
                first - len(axes) if first >= len(axes) - 2 else first,
                second - len(axes) if first >= len(axes) - 2 else second,
            )
        return method(x, "transpose", first, second)
    return method(x, "permute", *axes)


def trained(value: ir.Value, array: np.ndarray, *, recorded: bool) -> bool:
    """Whether a constant is a parameter: what the exporter says, or else all weights that are not a single number.

    Args:
        value: The constant.
        array: Its content.
        recorded: Whether the exporter says so of every parameter.
    """
    kind = value.metadata_props.get(KIND)
    if kind is not None or recorded:
        return kind == "PARAMETER" and array.dtype.kind in "fV"
    return array.dtype.kind in "fV" and value.is_initializer() and array.size > 1


def python_number(array: np.ndarray) -> int | float | bool:
    """The number in an array of one element, as short as its own precision allows."""
    item = array.reshape(-1)[0]
    if array.dtype.kind == "f":
        return float(str(item)) if np.isfinite(item) else float(item)
    return bool(item) if array.dtype.kind == "b" else int(item)


def dtype_code(name: str) -> Code:
    """``torch.float32``."""
    if identifier(name) != name:
        raise registry.refuse(f"dtype {name}")
    known = {"float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"}
    more = {"complex64", "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"}
    if name not in known | more:
        raise registry.refuse(f"PyTorch has no dtype {name}")
    return plain(f"torch.{name}")
