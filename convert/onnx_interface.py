"""Make an exported ONNX graph show exactly the interface that a signature says."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from xport.convert.lowering.model import fed_inputs
from xport.errors import ConversionError, UnsupportedError
from xport.signature import Dim, Signature, TensorSpec, numpy_dtype

EXTERNAL_DATA_BYTES = 1_000_000_000
"""Above this many bytes of weights a model keeps them in a file beside it; one protobuf ends at 2 GB."""


def align_interface(model: ir.Model, signature: Signature) -> None:
    """Give a graph the names, order and symbols of a signature, and add inputs that an exporter dropped.

    Only names change. Where a graph's types or sizes contradict the signature, that is an exporter's mistake.
    Inputs and outputs share one namespace in ONNX: an output may have an input's name only if it is that input.

    Args:
        model: The model; changed in place.
        signature: What its inputs and outputs have to be.

    Raises:
        ConversionError: If the graph has other dtypes, ranks or fixed sizes than the signature.
        UnsupportedError: If an input and another output have one name.
    """
    graph = model.graph
    inputs = _match_inputs(graph, signature.inputs)
    named = {spec.name: value for value, spec in zip(inputs, signature.inputs, strict=True)}
    outputs = _separate_outputs(graph, signature.outputs, named)
    pairs = [*zip(inputs, signature.inputs, strict=True)]
    pairs += [(v, s) for v, s in zip(outputs, signature.outputs, strict=True) if v is not named.get(s.name)]
    _rename_values(graph, pairs)
    graph.inputs.clear()
    graph.inputs.extend(inputs)
    symbols: dict[str, str] = {}
    for value, spec in pairs[: len(inputs)]:
        _check_type(value, spec)
        _collect_symbols(value, spec, symbols)
    for value, spec in pairs[len(inputs) :]:
        _check_type(value, spec)
        _collect_symbols(value, spec, {})
    _rename_symbols(graph, symbols)
    for value, spec in pairs:
        value.shape = ir.Shape(spec.shape or ())


def save_model(model: ir.Model, target: Path) -> None:
    """Write a model to a file, with its weights beside it (``<name>.data``) if they are large.

    Args:
        model: The model; weights that lie in files of their own are taken along.
        target: The ``.onnx`` file.
    """
    weights = [tensor for value in model.graph.initializers.values() if (tensor := value.const_value) is not None]
    if sum(tensor.nbytes for tensor in weights) > EXTERNAL_DATA_BYTES:
        ir.save(model, target, external_data=f"{target.name}.data")
        return
    if any(isinstance(tensor, ir.ExternalTensor) for tensor in weights):
        model = ir.external_data.load_to_model(model)
    ir.save(model, target)


def _match_inputs(graph: ir.Graph, specs: Sequence[TensorSpec]) -> list[ir.Value]:
    """The graph's value for each spec, by name or else by position; a new one where the exporter dropped it."""
    present = {value.name: value for value in fed_inputs(graph)}
    wanted = [spec.name for spec in specs]
    if set(present) <= set(wanted):
        return [present.get(spec.name) or _new_input(spec) for spec in specs]
    if len(present) == len(wanted):
        return list(present.values())
    raise ConversionError(f"The exported graph takes {', '.join(map(str, present))}, expected {', '.join(wanted)}.")


def _new_input(spec: TensorSpec) -> ir.Value:
    return ir.Value(name=spec.name, type=ir.TensorType(_data_type(spec)), shape=ir.Shape(spec.shape or ()))


def _data_type(spec: TensorSpec) -> ir.DataType:
    return ir.DataType.STRING if spec.dtype == "string" else ir.DataType.from_numpy(numpy_dtype(spec.dtype))


def _separate_outputs(graph: ir.Graph, specs: Sequence[TensorSpec], inputs: Mapping[str, ir.Value]) -> list[ir.Value]:
    """The graph's outputs: each a value of its own that some node produces, or the input of its name."""
    if len(graph.outputs) != len(specs):
        raise ConversionError(
            f"The exported graph gives {len(graph.outputs)} outputs, expected {len(specs)}: "
            f"{', '.join(spec.name for spec in specs)}."
        )
    seen: set[int] = set()
    for i, (value, spec) in enumerate(zip(list(graph.outputs), specs, strict=True)):
        if value is inputs.get(spec.name):
            continue
        if spec.name in inputs:
            raise _one_name(spec.name)
        if id(value) in seen or value.producer() is None:
            node = ir.node("Identity", [value])
            node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
            graph.append(node)
            graph.outputs[i] = value = node.outputs[0]
        seen.add(id(value))
    return list(graph.outputs)


def _one_name(name: str) -> UnsupportedError:
    return UnsupportedError(
        f"An input and an output are both called {name!r}, and are not the same: ONNX, which every conversion of this "
        "file goes through, has one name for one value.",
        f"Give the output another name in the source model, such as {name + '_out'!r}, and save it again.",
    )


def _rename_values(graph: ir.Graph, pairs: Sequence[tuple[ir.Value, TensorSpec]]) -> None:
    keep = {id(value) for value, _ in pairs}
    wanted = {spec.name for _, spec in pairs}
    taken = {value.name for value in _values(graph)} | wanted
    for value in list(_values(graph)):
        if id(value) not in keep and value.name in wanted:
            fresh = next(n for i in itertools.count(1) if (n := f"{value.name}_inner_{i}") not in taken)
            taken.add(fresh)
            value.name = fresh
    # Two steps, because names may be exchanged among the interface's own values.
    for i, (value, _) in enumerate(pairs):
        value.name = f"xport_interface_{i}"
    for value, spec in pairs:
        value.name = spec.name


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every value of a graph and of the graphs inside it."""
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph.all_nodes():
        yield from node.outputs
    for subgraph in graph.subgraphs():
        yield from subgraph.inputs
        yield from subgraph.initializers.values()


def _check_type(value: ir.Value, spec: TensorSpec) -> None:
    if value.dtype is None:
        value.dtype = _data_type(spec)
    elif value.dtype != _data_type(spec):
        raise ConversionError(f"The exporter changed {spec.name!r} from {spec.dtype} to {value.dtype.name}.")
    if value.shape is not None and spec.shape is not None and len(value.shape) != len(spec.shape):
        raise ConversionError(
            f"The exporter gave {spec.name!r} the rank {len(value.shape)}, expected {len(spec.shape)}."
        )


def _collect_symbols(value: ir.Value, spec: TensorSpec, symbols: dict[str, str]) -> None:
    """Learn which of the exporter's symbols is which of the signature's; refuse sizes that it fixed."""
    for axis, (size, dim) in enumerate(zip(value.shape or (), spec.shape or (), strict=False)):
        if isinstance(size, int):
            _check_size(size, dim, axis, spec)
        elif isinstance(dim, str) and size.value is not None and symbols.setdefault(size.value, dim) != dim:
            raise ConversionError(
                f"The exporter made the sizes {dim!r} and {symbols[size.value]!r} one, but they are independent."
            )


def _check_size(size: int, dim: Dim, axis: int, spec: TensorSpec) -> None:
    if isinstance(dim, str):
        raise ConversionError(
            f"The exporter fixed dimension {axis} of {spec.name!r} at {size}, expected the dynamic size {dim!r}."
        )
    if size != dim:
        raise ConversionError(f"The exporter gave dimension {axis} of {spec.name!r} the size {size}, expected {dim}.")


def _rename_symbols(graph: ir.Graph, symbols: dict[str, str]) -> None:
    """Put the signature's symbols for the exporter's in every shape, also inside expressions such as ``2*s77``."""
    if all(old == new for old, new in symbols.items()):
        return
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, symbols)) + r")\b")
    for value in _values(graph):
        if value.shape is None or not any(isinstance(size, ir.SymbolicDim) for size in value.shape):
            continue
        value.shape = ir.Shape([_renamed(size, pattern, symbols) for size in value.shape])


def _renamed(size: int | ir.SymbolicDim, pattern: re.Pattern[str], symbols: dict[str, str]) -> int | str | None:
    if isinstance(size, int):
        return size
    return None if size.value is None else pattern.sub(lambda match: symbols[match[0]], size.value)
