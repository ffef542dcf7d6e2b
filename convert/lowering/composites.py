"""ONNX operators that come out as one function of the target, which says what it is.

An operator such as ``GridSample`` becomes dozens of TensorFlow's. Written into the graph one by one nobody finds the
operator again, and a model that travels there and back grows. So the dozens go into a function of their own, and an
attribute of the call records the ONNX node. TensorFlow runs the body (and inlines it); a reader that knows the record
writes the operator (`xport.convert.importing.tf_composites`), and the gate proves that both are the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf import json_format

from xport.convert.lowering.layout import Call
from xport.convert.lowering.values import Perm, Value

if TYPE_CHECKING:
    from xport.convert.lowering.interpreter import Interpreter

LEAST = 12
"""Fewer of the target's operators than this stay in the graph."""

CONSTANT_BYTES = 4096
"""Known inputs above this stay in the body alone: recorded too, they would be stored twice."""

LONG = {"LSTM", "GRU", "RNN", "Resize", "Upsample", "GridSample", "AffineGrid", "RoiAlign", "MaxRoiPool"}
LONG |= {"NonMaxSuppression", "DeformConv", "Col2Im", "MaxPool", "AveragePool", "LpPool", "MaxUnpool"}
LONG |= {"Unique", "TopK", "ScatterElements", "Einsum", "DFT", "STFT"}
"""Operators that may become many; most others are as short in TensorFlow, or recognised by what they are made of."""

_KEEP_WEIGHTS = {"LSTM", "GRU", "RNN"}
"""Their bodies use the weights as they are: recorded ones are the same Variables, whatever their size."""


@dataclass(frozen=True)
class Record:
    """What a function implements.

    Attributes:
        node: The ONNX node; its names mean nothing.
        opset: The version of its domain.
        inputs: How each of the function's leading arguments is stored (``()`` for the logical order), by the input
            that it is; None for an input that is left out.
        outputs: How each result is stored; None for one that is left out.
    """

    node: onnx.NodeProto
    opset: int
    inputs: tuple[Perm | None, ...]
    outputs: tuple[Perm | None, ...]

    def text(self) -> str:
        """The record as the attribute holds it."""
        found = {
            "node": json_format.MessageToDict(self.node),
            "opset": self.opset,
            "inputs": self.inputs,
            "outputs": self.outputs,
        }
        return json.dumps(found)


def parse(text: str) -> Record | None:
    """Read a record.

    Args:
        text: The attribute.

    Returns:
        The record; None if it is broken: the body then tells what the function computes.
    """
    try:
        found = json.loads(text)
        node = json_format.ParseDict(found["node"], onnx.NodeProto())
        return Record(node, int(found["opset"]), _perms(found["inputs"]), _perms(found["outputs"]))
    except (json_format.ParseError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _perms(orders: Sequence[Sequence[Any] | None]) -> tuple[Perm | None, ...]:
    perms = tuple(None if order is None else tuple(int(axis) for axis in order) for order in orders)
    if any(perm is not None and sorted(perm) != list(range(len(perm))) for perm in perms):
        raise ValueError(f"{orders} are no orders of axes")
    return perms


def importable(node: onnx.NodeProto, opset: int, written: int) -> bool:
    """Whether an operator of one opset version means the same in another.

    Args:
        node: The node.
        opset: The version that it was written for.
        written: The version that it is to be written in.
    """
    if node.domain or not onnx.defs.has(node.op_type, opset) or not onnx.defs.has(node.op_type, written):
        return False
    own = onnx.defs.get_schema(node.op_type, opset).since_version
    return own == onnx.defs.get_schema(node.op_type, written).since_version or node.op_type in _ONLY_EXTENDED.get(
        min(opset, written), ()
    )


_ONLY_EXTENDED = {
    **dict.fromkeys(range(11, 19), ("Resize",)),
    **dict.fromkeys(range(16, 20), ("GridSample",)),
    **dict.fromkeys(range(16, 22), ("RoiAlign",)),
}
"""Operators of which later versions, up to 20, only take more: by the lowest version for which that holds."""


def lower(interpreter: Interpreter, node: ir.Node, call: Call, opset: int, body: Any) -> Sequence[Any] | None:
    """Let a target lower a node inside a function of its own.

    Args:
        interpreter: The running interpreter.
        node: The node.
        call: Its inputs and attributes, the layout decided.
        opset: The version of its domain.
        body: Lowers a `Call`.

    Returns:
        The results; None if the node is not worth a function or cannot have one.
    """
    if not _worth(node, call) or not interpreter.target.is_long(lambda: body(call), LEAST):
        return None
    proto = ir.to_proto(node)
    del proto.input[:], proto.output[:], proto.metadata_props[:]
    proto.ClearField("name")
    proto.ClearField("doc_string")
    places = [i for i, value in enumerate(call.values) if value is not None]
    perms = [_order(call, i) for i in places]
    inputs: list[Perm | None] = [None] * len(call.values)
    for place, perm in zip(places, perms, strict=True):
        inputs[place] = perm or ()
    outputs = tuple(call.out_perm(i) or () if output.name else None for i, output in enumerate(node.outputs))

    def inner(arguments: Sequence[Any]) -> Sequence[Any]:
        return body(_with_arguments(interpreter, call, dict(zip(places, arguments, strict=True))))  # type: ignore[no-any-return]

    tensors = [interpreter.as_tensor(call.values[i], perm) for i, perm in zip(places, perms, strict=True)]  # type: ignore[arg-type]
    record = Record(proto, opset, tuple(inputs), outputs)
    return interpreter.target.compose(node.op_type, record.text(), tensors, inner)


def _worth(node: ir.Node, call: Call) -> bool:
    if node.op_type not in LONG or node.domain:
        return False
    if any(v is not None and v.sequence is not None for v in call.values):
        return False
    if any(attribute.is_ref() for attribute in node.attributes.values()):
        return False
    known = [v.static() for v in call.values if v is not None]
    if all(array is not None for array in known):
        return False
    if sum(a.nbytes for a in known if a is not None) > CONSTANT_BYTES and node.op_type not in _KEEP_WEIGHTS:
        return False
    return all(a is None or a.dtype != np.dtype(object) for a in known)


def _order(call: Call, index: int) -> Perm | None:
    """How an input is handed over: as the layout wants a tensor, in logical order whatever else."""
    value = call.values[index]
    return call.perms[index] if value is not None and value.tensor is not None and index < len(call.perms) else None


def _with_arguments(interpreter: Interpreter, call: Call, arguments: dict[int, Any]) -> Call:
    """The call inside the function: tensors are its arguments; what is known stays known."""
    values = list(call.values)
    for place, argument in arguments.items():
        value = values[place]
        if value is None or value.tensor is None:
            continue
        outer = interpreter.as_tensor(value, _order(call, place))
        interpreter.target.name_dims(argument, interpreter.target.shape(outer))
        values[place] = Value(value.name, tensor=argument, perm=_order(call, place), dims=value.dims)
    return replace(call, values=values)
