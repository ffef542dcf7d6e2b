"""Why an operator gives something else: its weights, its attributes, its wiring, or its kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from xport.validate.bisection.agreement import alignments, distance
from xport.validate.bisection.isolation import Alone
from xport.validate.bisection.matching import Matching
from xport.validate.bisection.search import Candidate
from xport.validate.bisection.trunk import Node, Trunk
from xport.validate.figures import rms, to_float64

_SAME = 2e-6
_ATTRIBUTES_WITHOUT_MEANING = {"name", "doc_string"}
_SHAPE_OPS = {"Shape", "Concat", "Squeeze", "Unsqueeze", "Gather", "Slice", "Cast", "Range", "Size", "Constant"}


def differences(matching: Matching, candidate: Candidate, alone: Alone | None) -> list[str]:
    """Say what differs between two sides' operators that end in a pair of values.

    Args:
        matching: The partners.
        candidate: The pair.
        alone: What the operators give on the same inputs, if they could be run.

    Returns:
        Sentences, the most telling first; none if nothing was found.
    """
    reference, other = matching.reference.trunk, matching.other.trunk
    ours, theirs = working(matching, candidate.nodes), list(candidate.other_nodes)
    theirs = [node for node in theirs if not _shape_arithmetic(matching.other.values, node)] or theirs
    found = list(_wiring(matching, candidate))
    found += _weights(reference, ours, other, theirs)
    if [node.op for node in ours] == [node.op for node in theirs]:
        for mine, their in zip(ours, theirs, strict=True):
            found += _attributes(mine, their, reference.model.opset_import)
    elif len(ours) + len(theirs) <= 24:
        kinds = [" → ".join(node.op for node in nodes) or "nothing" for nodes in (ours, theirs)]
        found.append(f"operators differ: {kinds[1]} instead of {kinds[0]}")
    if alone is not None and not found:
        found += _layout(alone)
    return found


def identical(matching: Matching, candidate: Candidate) -> bool:
    """Whether one and the same operator stands on both sides, so that it cannot err by itself.

    Args:
        matching: The partners.
        candidate: The pair.

    Returns:
        True for one node with equal attributes and equal weights on inputs that are stored alike.
    """
    if len(candidate.nodes) != 1 or len(candidate.other_nodes) != 1 or candidate.match.perm:
        return False
    mine, theirs = candidate.nodes[0], candidate.other_nodes[0]
    if mine.op != theirs.op or len(mine.proto.input) != len(theirs.proto.input):
        return False
    if sorted(a.SerializeToString() for a in mine.proto.attribute) != sorted(
        a.SerializeToString() for a in theirs.proto.attribute
    ):
        return False
    pairs = zip(mine.proto.input, theirs.proto.input, strict=True)
    return all(_same_input(matching, left, right) for left, right in pairs)


def _same_input(matching: Matching, left: str, right: str) -> bool:
    reference, other = matching.reference.trunk, matching.other.trunk
    if not left or not right:
        return left == right
    if left in reference.initializers and right in other.initializers:
        return bool(np.array_equal(reference.initializer(left), other.initializer(right)))
    match = matching.pairs.get(left)
    return match is not None and match.other == right and not match.perm


def working(matching: Matching, nodes: Sequence[Node]) -> list[Node]:
    """The nodes without those that only compute sizes."""
    kept = [node for node in nodes if not _shape_arithmetic(matching.reference.values, node)]
    return kept or list(nodes)


def _shape_arithmetic(values: Any, node: Node) -> bool:
    found = [values[name] for name in node.outputs if name in values]
    return bool(found) and all(array.dtype.kind in "iub" for array in found) and node.op in _SHAPE_OPS


def _wiring(matching: Matching, candidate: Candidate) -> Iterator[str]:
    """Another value where the reference's operator takes one."""
    wanted = {matching.pairs[name].other for name in candidate.border}
    mine = [name for name in candidate.border if matching.reference.values[name].dtype.kind in "fc"]
    theirs = [n for n in candidate.other_border if matching.other.values[n].dtype.kind in "fc" and n not in wanted]
    strange = [n for n in theirs if matching.back[n] not in candidate.border]
    if strange and mine:
        names = ", ".join(matching.back[name] for name in strange)
        yield f"it is computed from {names}, in the reference from {', '.join(mine)}"


def _weights(reference: Trunk, ours: Sequence[Node], other: Trunk, theirs: Sequence[Node]) -> list[str]:
    """How the constants of two sets of nodes differ; constants that only one side has stay unsaid."""
    mine, rest = list(_constants(reference, ours)), list(_constants(other, theirs))
    found = []
    for label, place, op, array in mine:
        best = None
        for row in rest:
            for _, view in alignments(array.shape, row[3]):
                if row[3].dtype.kind == array.dtype.kind:
                    # The same place in the same operator is preferred among equally near ones.
                    near = min(_apart(array, view), 10.0) - 1e-9 * (row[1] == place and row[2] == op)
                    if best is None or near < best[0]:
                        best = (near, row, view)
        if best is None:
            continue
        rest = [row for row in rest if row is not best[1]]
        text = _described(array, best[2])
        if text and (best[0] < 1.0 or (best[1][1] == place and best[1][2] == op)):
            found.append(f"{op}'s input {place} ({label}): {text}")
    return found


def _apart(array: np.ndarray, view: np.ndarray) -> float:
    if array.dtype.kind not in "fc":
        return 0.0 if np.array_equal(array, view) else 1.0
    return distance(array, view) if rms(to_float64(array)) else float(np.any(view != array))


def _constants(trunk: Trunk, nodes: Sequence[Node]) -> Iterator[tuple[str, int, str, np.ndarray]]:
    """Label, place, operator and content of what a node takes that the model itself holds."""
    for node in nodes:
        for place, name in enumerate(node.proto.input):
            if name in trunk.initializers:
                yield name, place, node.op, trunk.initializer(name)
            elif name in trunk.constants and (maker := trunk.producer.get(name)) is not None:
                for attribute in maker.proto.attribute:
                    if maker.op == "Constant" and attribute.name == "value":
                        yield name, place, node.op, np.asarray(numpy_helper.to_array(attribute.t))


def _described(array: np.ndarray, view: np.ndarray) -> str:
    """How a constant differs from the reference's; empty if it does not, beyond rounding."""
    left, right = to_float64(array), to_float64(view)
    scale = rms(left) or 1.0
    off = np.abs(left - right) > _SAME * np.maximum(np.abs(left), 1e-3 * scale)
    count = int(off.sum())
    if not count:
        return ""
    with np.errstate(over="ignore"):
        halved = array.dtype.kind == "f" and np.array_equal(array.astype(np.float16).astype(array.dtype), view)
    if halved:
        return f"all {array.size:,} elements are rounded to float16"
    if (order := _reordered(left, right)) is not None:
        return order
    worst = np.unravel_index(int(np.argmax(np.abs(left - right))), left.shape)
    place = f"index {[int(i) for i in worst]}, " if left.ndim else ""
    values = f"{right[worst]:.7g} instead of {left[worst]:.7g}"
    if count == 1:
        return f"differs in 1 of {array.size:,} elements ({place}{values})"
    return f"differs in {count:,} of {array.size:,} elements (most at {place}{values})"


def _reordered(left: np.ndarray, right: np.ndarray) -> str | None:
    """Slices along an axis that hold the same numbers in another order."""
    for axis in range(left.ndim):
        mine = np.moveaxis(left, axis, 0).reshape(left.shape[axis], -1)
        theirs = np.moveaxis(right, axis, 0).reshape(left.shape[axis], -1)
        moved = np.flatnonzero(~np.isclose(mine, theirs, rtol=_SAME, atol=0).all(axis=1))
        if len(moved) < 2:
            continue
        left_sorted, right_sorted = (part[moved][np.lexsort(part[moved].T[::-1])] for part in (mine, theirs))
        if np.allclose(left_sorted, right_sorted, rtol=_SAME, atol=0):
            which = f"slices {', '.join(map(str, moved))}" if len(moved) <= 8 else f"{len(moved)} of {len(mine)} slices"
            return f"{which} of axis {axis} stand in another order"
    return None


def _attributes(mine: Node, theirs: Node, opsets: Any) -> Iterator[str]:
    """Attributes that differ, defaults filled in."""
    left, right = _settings(mine, opsets), _settings(theirs, opsets)
    for name in sorted({*left, *right} - _ATTRIBUTES_WITHOUT_MEANING):
        a, b = left.get(name), right.get(name)
        if a != b and not _equivalent(name, a, b, left, right):
            yield f"{mine.op}'s {name} is {_shown(b)}, in the reference {_shown(a)}"


def _settings(node: Node, opsets: Any) -> dict[str, Any]:
    version = next((o.version for o in opsets if o.domain == node.proto.domain), 1)
    settings: dict[str, Any] = {}
    try:
        schema = onnx.defs.get_schema(node.proto.op_type, version, node.proto.domain)
        for name, attribute in schema.attributes.items():
            if attribute.default_value.name:
                settings[name] = onnx.helper.get_attribute_value(attribute.default_value)
    except onnx.defs.SchemaError:
        settings = {}  # another domain: only what is written counts
    for attribute in node.proto.attribute:
        if attribute.type not in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS, onnx.AttributeProto.TENSOR):
            settings[attribute.name] = onnx.helper.get_attribute_value(attribute)
    return {
        name: list(v) if isinstance(v, Sequence) and not isinstance(v, bytes) else v for name, v in settings.items()
    }


def _equivalent(name: str, a: Any, b: Any, left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Attributes that say the same in two ways."""
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, rtol=1e-6, atol=0))
    if name in ("transA", "transB", "kernel_shape"):
        return True  # a weight that is stored transposed, or says its size itself, is compared as a weight
    neutral = {"strides": 1, "dilations": 1, "pads": 0}
    if name in neutral:
        full = a or b
        return [neutral[name]] * len(full) == full and not (a and b) if full else True
    if name == "auto_pad":
        return {a, b} <= {b"NOTSET", b"VALID", None}
    return False


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return f"{value:.6g}" if isinstance(value, float) else "absent" if value is None else str(value)


def _layout(alone: Alone) -> Iterator[str]:
    """The right numbers in the wrong places."""
    left, right = to_float64(alone.expected).reshape(-1), to_float64(alone.actual).reshape(-1)
    if left.size > 1 and np.allclose(np.sort(left), np.sort(right), rtol=1e-5, atol=1e-7):
        yield "the same numbers in another order: axes are mixed up (NCHW read as NHWC, or the other way round)"
