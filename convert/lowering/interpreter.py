"""Walks an ONNX graph and makes each value in a target's own terms.

The same walk serves every target. TensorFlow runs it once, while a `tf.function` is traced; PyTorch runs it in each
forward pass, where tracing and exporting melt it away. Work on values that are known already is done at once, by the
target itself, and sizes are computed one by one on the host (`xport.convert.lowering.host`), so that only what truly
depends on the input is left in the result.
"""

from __future__ import annotations

import inspect
import math
from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering import composites, host
from xport.convert.lowering import model as onnx_model
from xport.convert.lowering.layout import Call
from xport.convert.lowering.registry import Handler, Parameter, Role, find
from xport.convert.lowering.target import Target
from xport.convert.lowering.values import HostVector, Perm, Value, identity
from xport.errors import ConversionError, UnreadableModelError, UnsupportedError, XportError

Env = MutableMapping[ir.Value, Value]

NONDETERMINISTIC = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
NONDETERMINISTIC |= {"Bernoulli", "Multinomial", "Dropout"}
SEES_AROUND = {"If", "Loop", "Scan", "SequenceMap"}
"""Operators whose graphs use values that are no inputs: known inputs do not make them known."""

_EMPTY = inspect.Parameter.empty

FOLD_GROWTH = 4
FOLD_BYTES = 1 << 20
"""A known result above this size that outgrew its inputs by `FOLD_GROWTH` is left to run time."""


@dataclass
class Scope:
    """Where nodes are evaluated: values so far, opset versions, and a function call's attributes."""

    env: Env
    opsets: Mapping[str, int]
    attributes: Mapping[str, ir.Attr]


@dataclass
class Context:
    """What a handler may ask about its call.

    Attributes:
        interpreter: The running interpreter.
        node: The ONNX node.
        scope: Where it stands.
    """

    interpreter: Interpreter
    node: ir.Node
    scope: Scope

    @property
    def n_outputs(self) -> int:
        """The number of outputs the node names, trailing omitted ones left out."""
        return len(self.node.outputs)

    def wants(self, index: int) -> bool:
        """Whether the node's output ``index`` is used at all."""
        return index < len(self.node.outputs) and bool(self.node.outputs[index].name)

    @property
    def version(self) -> int:
        """The opset version of the node's domain."""
        return self.scope.opsets.get(self.node.domain, 1)

    def output_dtype(self, index: int = 0) -> str | None:
        """The inferred dtype name of an output; None if inference could not tell."""
        dtype = self.node.outputs[index].dtype
        return None if dtype is None else dtype_name(dtype)

    def output_shape(self, index: int = 0) -> list[int | str | None] | None:
        """The inferred shape of an output; None if not even the rank is known."""
        dims = dims_of(self.node.outputs[index])
        return None if dims is None else list(dims)

    def run(self, graph: ir.Graph, inputs: Sequence[Value]) -> list[Value]:
        """Evaluate a graph attribute's body; it sees the values around it."""
        return self.interpreter.run_graph(graph, inputs, self.scope)

    def tensor(self, value: Value) -> Any:
        """A value as the target's tensor in logical order."""
        return self.interpreter.as_tensor(value)


def dtype_name(dtype: ir.DataType) -> str:
    """The signature's name of an ONNX element type.

    Raises:
        UnreadableModelError: If it is none.
    """
    try:
        return "string" if dtype == ir.DataType.STRING else dtype.numpy().name
    except TypeError as error:
        raise UnreadableModelError(f"{dtype} is no element type that a tensor can have.") from error


def _type_name(value: ir.Value) -> str | None:
    return None if value.dtype is None else dtype_name(value.dtype)


def dims_of(value: ir.Value) -> tuple[int | str | None, ...] | None:
    """The inferred dimensions: numbers, symbols' names, None where unknown."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


class Interpreter:
    """Lowers one model to one target.

    Args:
        model: The model, prepared by `xport.convert.lowering.model`.
        target: The target's primitives.
    """

    def __init__(self, model: ir.Model, target: Target) -> None:
        self.model = model
        self.target = target
        self.constants: dict[ir.Value, Value] = {}
        self._bodies: dict[ir.Node, ir.Function | None] = {}  # PyTorch runs the graph again and again
        for graph in model.graphs():  # nested ones too: their weights are weights like any other
            for value in graph.initializers.values():
                self.constants[value] = self.initializer(value)

    def run(self, tensors: Sequence[Any]) -> list[Any]:
        """Lower the main graph.

        Args:
            tensors: The target's tensors for the graph's inputs, in order, in logical storage order.

        Returns:
            Tensors for the graph's outputs, in order, in logical storage order.

        Raises:
            UnsupportedError: If a node cannot be expressed exactly.
            ConversionError: If the target failed on a node.
        """
        env: Env = ChainMap({}, self.constants)
        for value, tensor in zip(onnx_model.fed_inputs(self.model.graph), tensors, strict=True):
            env[value] = self._wrap(self.target.receive(tensor, _type_name(value)), value, None)
            self.target.anchor(env[value].tensor, dims_of(value) or ())
        scope = Scope(env, self.model.opset_imports, {})
        self._run_nodes(self.model.graph, scope)
        outputs = self.model.graph.outputs
        return [self.target.deliver(self.as_tensor(env[value]), _type_name(value)) for value in outputs]

    def fold_constants(self, may_fold: Callable[[ir.Node], bool] = lambda _: True, *, nested: bool = False) -> None:
        """Evaluate every node whose inputs are all known, once, and keep the results.

        Args:
            may_fold: Asked about each such node.
            nested: Whether to look into the graphs of branches and loops too.
        """
        scope = Scope(self.constants, self.model.opset_imports, {})
        for node in onnx_model.walk(self.model.graph) if nested else self.model.graph:
            if nested and node.op_type in SEES_AROUND:
                continue
            known = all(v is None or (v in self.constants and self.constants[v].known) for v in node.inputs)
            if known and may_fold(node):
                results = self._evaluate(node, scope, only_known=True)
                for value, result in zip(node.outputs, results or (), strict=bool(results)):
                    self.constants[value] = result

    def run_graph(self, graph: ir.Graph, inputs: Sequence[Value], scope: Scope) -> list[Value]:
        """Evaluate a nested graph in a scope of its own; see `Context.run`."""
        env: Env = ChainMap({}, scope.env)
        env.update({v: self.initializer(v) for v in graph.initializers.values() if v not in env})
        env.update(zip(graph.inputs, inputs, strict=True))
        self._run_nodes(graph, Scope(env, scope.opsets, scope.attributes))
        return [env[v] for v in graph.outputs]

    def _run_function(self, function: ir.Function, node: ir.Node, inputs: Sequence[Any], scope: Scope) -> list[Value]:
        env: Env = {}
        padded = [*inputs, *[None] * (len(function.inputs) - len(inputs))]
        env.update({v: x for v, x in zip(function.inputs, padded, strict=True) if x is not None})
        attributes = {name: a for name, a in function.attributes.items() if a.value is not None}
        attributes.update({name: self._resolve(a, scope) for name, a in node.attributes.items()})
        self._run_nodes(function, Scope(env, {**scope.opsets, **function.opset_imports}, attributes))
        return [env[v] for v in function.outputs[: len(node.outputs)]]

    def _run_nodes(self, graph: ir.Graph | ir.Function, scope: Scope) -> None:
        for node in graph:
            if all(v in scope.env for v in node.outputs):
                continue  # folded before
            results = self._evaluate(node, scope)
            for value, result in zip(node.outputs, results, strict=False):
                scope.env[value] = result

    def evaluate(self, node: ir.Node, scope: Scope) -> list[Value]:
        """Evaluate one node; its inputs are in the scope."""
        return self._evaluate(node, scope)

    def _evaluate(self, node: ir.Node, scope: Scope, *, only_known: bool = False) -> list[Value]:
        label = f"{node.op_type} node {node.name or '(unnamed)'!r}"
        try:
            with self.target.scope(node.name or node.op_type):
                return self._evaluate_node(node, scope, only_known=only_known)
        except UnsupportedError as error:
            if error.message.startswith("Cannot lower"):
                raise
            raise UnsupportedError(f"Cannot lower {label} to {self.target.name}: {error.message}", error.fix) from error
        except XportError:
            raise
        except Exception as error:
            unknown = "the rank of an input is unknown while converting" if self._rank_unknown(node, scope) else ""
            if why := unknown or self.target.limit(error):
                raise UnsupportedError(f"Cannot lower {label} to {self.target.name}: {why}") from error
            detail = str(error).strip().splitlines()
            raise ConversionError(
                f"{self.target.name} failed on {label}: {type(error).__name__}: {detail[0] if detail else ''}"
            ) from error

    def _rank_unknown(self, node: ir.Node, scope: Scope) -> bool:
        """Whether an input is a tensor of unknown rank, which most operators cannot take."""
        values = [scope.env.get(v) for v in node.inputs if v is not None]
        return any(v is not None and v.tensor is not None and self.target.rank(v.tensor) is None for v in values)

    def _evaluate_node(self, node: ir.Node, scope: Scope, *, only_known: bool) -> list[Value]:
        inputs = [None if v is None else scope.env.get(v) for v in node.inputs]
        version = scope.opsets.get(node.domain, 1)
        attributes = {name: self._attribute(a, scope) for name, a in node.attributes.items()}
        attributes = {name: value for name, value in attributes.items() if value is not _EMPTY}
        if (results := host.evaluate(node, inputs, attributes, self.target)) is not None:
            return results
        handler = find(node.domain, node.op_type, version, self.target.name)
        if handler is None:
            if node not in self._bodies:
                self._bodies[node] = onnx_model.function_body(node, self.model, version)
            body = self._bodies[node]
            if body is None:
                raise UnsupportedError(f"no handler for opset {version}")
            return self._run_function(body, node, inputs, scope)
        call = self._call(handler, node, inputs, attributes)
        if handler.layout is not None and self.target.channels_last:
            handler.layout(call)
        known = all(v is None or v.known for v in inputs) and node.op_type not in NONDETERMINISTIC | SEES_AROUND
        if known and inputs and (folded := self._fold(handler, node, call, scope)) is not None:
            return folded
        if only_known and inputs:
            return []
        return self._lower(handler, node, call, scope)

    def _call(self, handler: Handler, node: ir.Node, inputs: list[Value | None], given: dict[str, Any]) -> Call:
        """Match inputs and attributes with the handler's parameters."""
        variadic = any(p.variadic for p in handler.parameters)
        while inputs and inputs[-1] is None and len(inputs) > len(handler.parameters):
            inputs.pop()
        if len(inputs) > len(handler.parameters) and not variadic:
            raise UnsupportedError(f"{len(inputs)} inputs, at most {len(handler.parameters)} are known")
        if unknown := set(given) - set(handler.attributes):
            raise UnsupportedError(f"unknown attribute {', '.join(sorted(unknown))}")
        attributes = {**handler.attributes, **given}
        if missing := [k for k, v in attributes.items() if v is _EMPTY]:
            raise UnsupportedError(f"required attribute {', '.join(missing)} is missing")
        ranks = [None if v is None else self.rank(v) for v in inputs]
        call = Call(inputs, ranks, attributes, [None] * len(inputs))
        if handler.layout is not None and self.target.channels_last and any(v and v.perm for v in inputs):
            call.sizes = [None if v is None else host.sizes_of(v, self.target) for v in inputs]
        return call

    def _fold(self, handler: Handler, node: ir.Node, call: Call, scope: Scope) -> list[Value] | None:
        """Let the target compute on known inputs at once; None if the result would bloat the model."""
        with self.target.eager():
            results = self._invoke(handler, node, call, scope)
            folded = []
            for i, (result, out) in enumerate(zip(results, node.outputs, strict=False)):
                value = self._wrap(result, out, call.out_perm(i) if not isinstance(result, Value) else None)
                if value.tensor is not None:
                    value = Value(value.name, const=self.target.numpy(self.as_tensor(value)))
                folded.append(value)
        arrays = [v.static() for v in call.values if v is not None]
        known_bytes = sum(int(a.nbytes) for a in arrays if a is not None)
        made_bytes = sum(v.const.nbytes for v in folded if v.const is not None)
        if made_bytes > FOLD_BYTES and made_bytes > FOLD_GROWTH * known_bytes:
            return None
        return folded

    def _lower(self, handler: Handler, node: ir.Node, call: Call, scope: Scope) -> list[Value]:
        opset = scope.opsets.get(node.domain, 1)
        results = composites.lower(self, node, call, opset, lambda inner: self._invoke(handler, node, inner, scope))
        if results is None:
            results = self._invoke(handler, node, call, scope)
        return [
            self._wrap(result, out, call.out_perm(i) if not isinstance(result, Value) else None)
            for i, (result, out) in enumerate(zip(results, node.outputs, strict=False))
        ]

    def _invoke(self, handler: Handler, node: ir.Node, call: Call, scope: Scope) -> Sequence[Any]:
        values = list(call.values)
        perms = list(call.perms)
        for position, array in call.replaced.items():
            values.extend([None] * (position + 1 - len(values)))
            perms.extend([None] * (position + 1 - len(perms)))
            values[position] = Value(const=array)
        arguments = self._arguments(handler, values, perms)
        keywords = dict(call.attributes)
        if handler.wants_context:
            keywords["context"] = Context(self, node, scope)
        result = handler.function(self.target, *arguments, **keywords)
        return result if isinstance(result, tuple) else (result,)

    def _arguments(self, handler: Handler, values: list[Value | None], perms: list[Perm | None]) -> list[Any]:
        arguments: list[Any] = []
        for position, value in enumerate(values):
            parameter = handler.parameters[min(position, len(handler.parameters) - 1)]
            if value is None:
                if not (parameter.optional or parameter.variadic):
                    raise UnsupportedError(f"input {parameter.name} is missing")
                arguments.append(None)
            else:
                arguments.append(self._in_role(value, parameter, perms[position]))
        required = [p.name for p in handler.parameters[len(values) :] if not (p.optional or p.variadic)]
        if required:
            raise UnsupportedError(f"input {', '.join(required)} is missing")
        return arguments

    def _in_role(self, value: Value, parameter: Parameter, perm: Perm | None) -> Any:
        if parameter.role is Role.VALUE:
            return value
        if parameter.role is Role.SIZES:
            return self.as_sizes(value, parameter.name)
        if parameter.role is Role.TENSOR:
            return self.as_tensor(value, perm)
        array = value.static()
        if array is None and parameter.role is Role.STATIC:
            raise UnsupportedError(
                f"input {parameter.name} ({value.name!r}) must be known while converting, but is computed at run time"
            )
        if array is None or self.target.keeps_weights:
            return self.as_tensor(value, perm)
        return array

    def rank(self, value: Value) -> int | None:
        """The rank of a value; None if unknown or a sequence."""
        if value.const is not None:
            return int(value.const.ndim)
        if value.vector is not None:
            return 0 if value.vector.scalar else 1
        if value.tensor is not None:
            return self.target.rank(value.tensor)
        return None if value.flattened is None else 2

    def as_tensor(self, value: Value, perm: Perm | None = None) -> Any:
        """A value as the target's tensor.

        Args:
            value: The value; one of lower rank is aligned to ``perm`` with leading ones, as broadcasting does.
            perm: The storage order wanted; None for the logical one.

        Returns:
            The tensor; the same one for the same request.
        """
        perm = identity(perm)
        if value.sequence is not None:
            raise UnsupportedError(f"{value.name!r} is a sequence where a tensor is expected")
        key = (perm, self.target.graph_key())
        if key in value.cache:
            return value.cache[key]
        tensor = self._make_tensor(value, perm)
        if not self.target.keeps_weights:  # where they are kept, the weight of this very run is wanted
            value.cache[key] = tensor
        return tensor

    def _make_tensor(self, value: Value, perm: Perm | None) -> Any:
        if value.const is not None:
            return self.target.constant(_align_array(value.const, perm), value.name, value.const)
        if value.vector is not None:
            tensor = self.target.stack(value.vector)
            return tensor if perm is None else self._align(tensor, perm)
        if value.tensor is None and value.flattened is not None:
            source = self.as_tensor(value.flattened)
            return self.target.reshape(source, [self.target.shape(source)[0], -1])
        if value.tensor is None:
            raise UnsupportedError(f"{value.name!r} has no tensor form")
        rank = self.target.rank(value.tensor)
        if perm is not None and rank is not None and rank < len(perm):
            return self._align(self.as_tensor(value), perm)
        if value.perm == perm:
            return value.tensor
        stored = value.perm or tuple(range(rank or 0))
        wanted = perm or tuple(range(rank or 0))
        return self.move_axes(value.tensor, [stored.index(axis) for axis in wanted])

    def _align(self, tensor: Any, perm: Perm) -> Any:
        """Pad a logical tensor with leading ones to the order's rank, then store it in that order."""
        sizes = self.target.shape(tensor)
        if not sizes:
            return tensor
        padded = self.target.reshape(tensor, [*[1] * (len(perm) - len(sizes)), *sizes])
        return self.move_axes(padded, list(perm))

    def move_axes(self, tensor: Any, order: Sequence[int]) -> Any:
        """Transpose; a reshape where only axes of size one move, which costs nothing."""
        sizes = self.target.shape(tensor)
        moving = [axis for axis in order if not (isinstance(sizes[axis], int) and sizes[axis] == 1)]
        if moving == sorted(moving):
            return self.target.reshape(tensor, [sizes[axis] for axis in order])
        return self.target.transpose(tensor, order)

    def as_sizes(self, value: Value, what: str = "sizes") -> list[Any]:
        """The elements of an integer vector (or scalar), each a number or a run-time size."""
        if value.vector is not None:
            return list(value.vector.items)
        if value.const is not None:
            return [int(i) for i in value.const.reshape(-1)]
        return self.target.unstack(self.as_tensor(value), what)

    def is_row_flatten(self, value: Value, shape: Sequence[Any] | None) -> bool:
        """Whether reshaping a stored-permuted value to ``shape`` (None: to rows) keeps axis 0 and joins the rest.

        Such a value is kept as it is: a matrix product behind it takes the storage order into its weights.
        """
        if value.tensor is None or value.perm is None or value.perm[0] != 0:
            return False
        sizes = host.sizes_of(value, self.target)
        if sizes is None or not all(isinstance(s, int) for s in sizes[1:]):
            return False
        if shape is None:
            return True
        rest = math.prod(sizes[1:])
        rows = [*([0] if sizes[0] != 0 else []), sizes[0]]
        if len(shape) != 2:
            return False
        return (shape[0] in rows and shape[1] in (-1, rest)) or (shape[0] == -1 and shape[1] == rest)

    def as_static(self, value: Value) -> np.ndarray | None:
        """The content, or None where it is not known while lowering."""
        return value.static()

    def _wrap(self, result: Any, out: ir.Value, perm: Perm | None) -> Value:
        name = out.name or ""
        if isinstance(result, Value):
            return result
        if isinstance(result, HostVector):
            return Value(name, vector=result)
        if isinstance(result, np.ndarray):
            return Value(name, const=result)
        if isinstance(result, list):
            return Value(name, sequence=result)
        dims = dims_of(out)
        if dims is not None and result is not None:
            stored = dims if perm is None else tuple(dims[p] for p in perm)
            self.target.name_dims(result, stored)
        return Value(name, tensor=result, perm=identity(perm), dims=dims)

    def initializer(self, value: ir.Value) -> Value:
        """An initializer as a value, its data still where it was."""
        if value.const_value is None:
            raise UnsupportedError(f"initializer {value.name!r} has no data")
        return Value(value.name or "", const=tensor_array(value.const_value))

    def _resolve(self, attribute: ir.Attr, scope: Scope) -> ir.Attr:
        if not attribute.is_ref():
            return attribute
        return scope.attributes.get(attribute.ref_attr_name or "", attribute)

    def _attribute(self, attribute: ir.Attr, scope: Scope) -> Any:
        """An attribute's value as a handler takes it; tensors as arrays, graphs as they are."""
        resolved = self._resolve(attribute, scope)
        if resolved.is_ref():
            return _EMPTY  # the caller gave none: the default applies
        if resolved.type == ir.AttributeType.TENSOR:
            return tensor_array(resolved.value)
        if resolved.type in (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS):
            return list(resolved.value)
        return resolved.value


def tensor_array(tensor: ir.TensorProtocol) -> np.ndarray:
    """The content of an ONNX tensor; strings as an object array."""
    if tensor.dtype == ir.DataType.STRING:
        return np.array(tensor.numpy(), dtype=object)
    return np.asarray(tensor.numpy())


def _align_array(array: np.ndarray, perm: Perm | None) -> np.ndarray:
    if perm is None or array.ndim == 0:
        return array
    aligned = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
    return np.ascontiguousarray(aligned.transpose(perm))
