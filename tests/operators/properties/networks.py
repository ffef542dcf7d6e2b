"""Random small networks: convolutions, and between them what joins, cuts, turns and regroups their axes.

Each step is a node whose inputs are values made before. ONNX Runtime runs it by itself as soon as it is drawn, which
tells the shape of what comes next, drops what is no node, and leaves expectations that owe nothing to its optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper

from tests.operators.parity import element_type, expected, node_model
from tests.operators.properties.strategies import Draw, axes_of, axis_of, floats, per_axis, vector, window

LARGEST, HIGHEST = 20_000, 6
"""Elements and axes beyond which a value is not used on."""


@dataclass
class Network:
    """A network being drawn.

    Attributes:
        opset: The default domain's version.
        inputs: What is fed, by name.
        nodes: The nodes so far.
        values: Every value so far, by name.
        weights: Those of them that are initializers.
        open_axes: Whether the inputs' sizes are left open.
    """

    opset: int
    inputs: dict[str, np.ndarray]
    open_axes: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"opset {self.opset}, open {self.open_axes}: " + str({k: x.shape for k, x in self.inputs.items()})]
        for node in self.nodes:
            inputs = [
                f"{i}{self.weights[i].tolist()}" if i in self.weights and self.weights[i].size < 9 else i
                for i in node.input
            ]
            inputs = [f"{i}{self.weights[i].shape}" if i in self.weights and "[" not in i else i for i in inputs]
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            shapes = [self.values[o].shape for o in node.output]
            lines.append(
                f"  {', '.join(node.output)} {shapes} = {node.op_type}({', '.join(inputs)}) {attributes or ''}"
            )
        return "\n".join(lines)

    def weight(self, array: np.ndarray) -> str:
        """Add an initializer."""
        name = f"w{len(self.weights)}"
        self.weights[name] = self.values[name] = array
        return name

    def add(self, op: str, names: list[str], outputs: int = 1, /, **attributes: Any) -> list[str]:
        """Add a node if ONNX Runtime runs it; the names of its outputs, none if it does not."""
        arrays = [self.values[name] for name in names]
        model = node_model(op, arrays, attributes, opset=self.opset, outputs=outputs)
        try:
            answers = expected(model, arrays)[0]
        except Exception:  # its errors have no common type
            return []
        if any(not 0 < a.size <= LARGEST or a.ndim > HIGHEST or float(np.max(np.abs(a))) > 1e5 for a in answers):
            return []
        if any(not np.isfinite(a).all() for a in answers):
            return []
        made = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.values |= dict(zip(made, answers, strict=True))
        self.nodes.append(helper.make_node(op, names, made, name=f"{op}_{len(self.nodes)}", **attributes))
        return made

    def tensors(self) -> list[str]:
        """Every value but the weights."""
        return [name for name in self.values if name not in self.weights]

    def elsewhere(self) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """Inputs of other sizes and their answers.

        One image more and every spatial axis one longer; one image more only, where the network takes no others; None
        where it does not even take that.
        """
        for grown in (slice(None), slice(1)):
            feed = []
            for x in self.inputs.values():
                rows = [[0, int(i in range(x.ndim)[grown] and (i != 1))] for i in range(x.ndim)]
                feed.append(np.pad(x, rows, mode="edge"))
            try:
                return feed, expected(self.model, feed)[0]
            except Exception:  # its errors have no common type
                continue
        return None

    @property
    def answers(self) -> list[np.ndarray]:
        """The outputs wanted: every value that no node takes."""
        return [self.values[name] for name in self.outputs]

    @property
    def outputs(self) -> list[str]:
        """Every value that no node takes."""
        taken = {name for node in self.nodes for name in node.input}
        return [name for node in self.nodes for name in node.output if name not in taken]

    @property
    def model(self) -> onnx.ModelProto:
        """The network as a model."""
        fed = [
            helper.make_tensor_value_info(
                name, element_type(x), [f"{name}_{i}" for i in range(x.ndim)] if self.open_axes else x.shape
            )
            for name, x in self.inputs.items()
        ]
        known = [onnx.numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        ends = [helper.make_empty_tensor_value_info(name) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "network", fed, ends, known)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


Step = Callable[[Draw, Network, str], list[str]]


def convolve(draw: Draw, net: Network, x: str) -> list[str]:
    shape = net.values[x].shape
    if not 3 <= len(shape) <= 5 or not shape[1]:
        return []
    groups = draw(st.sampled_from([g for g in (1, 1, 2, 3, shape[1]) if shape[1] % g == 0]))
    kernel = per_axis(draw, [3, 1, 2], len(shape) - 2)
    transposed = draw(st.integers(0, 4)) == 0
    out = draw(st.integers(1, 3))
    sizes = (shape[1], out) if transposed else (out * groups, shape[1] // groups)
    names = [x, net.weight(floats(draw, (*sizes, *kernel)) / 4)]
    if draw(st.booleans()):
        names.append(net.weight(floats(draw, (out * groups,))))
    return net.add("ConvTranspose" if transposed else "Conv", names, group=groups, **window(draw, kernel))


def pool(draw: Draw, net: Network, x: str) -> list[str]:
    rank = net.values[x].ndim
    if not 3 <= rank <= 5:
        return []
    op = draw(st.sampled_from(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"]))
    if op.startswith("Global"):
        return net.add(op, [x])
    kernel = per_axis(draw, [2, 3, 1], rank - 2)
    attributes = window(draw, kernel, most=-1)
    attributes.pop("dilations", None)
    if any(k > s for k, s in zip(kernel, net.values[x].shape[2:], strict=False)):
        return []  # where a window does not fit, runtimes differ
    return net.add(op, [x], kernel_shape=kernel, **attributes)


def activate(draw: Draw, net: Network, x: str) -> list[str]:
    return net.add(draw(st.sampled_from(["Relu", "Sigmoid", "Neg", "Abs", "HardSwish", "Identity"])), [x])


def combine(draw: Draw, net: Network, x: str) -> list[str]:
    """With another value, a constant of a shape that broadcasts, or itself."""
    op = draw(st.sampled_from(["Add", "Mul", "Sub", "Max", "Where", "PRelu"]))
    shape = net.values[x].shape
    others = [n for n in net.tensors() if _broadcasts(net.values[n].shape, shape)]
    if others and draw(st.booleans()):
        other = draw(st.sampled_from(others))
    else:
        sizes = [s if draw(st.booleans()) else 1 for s in shape][draw(st.integers(0, len(shape))) :]
        if draw(st.integers(0, 4)) == 0 and op != "PRelu":
            sizes = [draw(st.integers(1, 2)), *[s if draw(st.booleans()) else 1 for s in shape]]
        other = net.weight(floats(draw, sizes))
    if op == "PRelu" and np.broadcast_shapes(net.values[other].shape, shape) != shape:
        return []
    if op == "Where":
        return net.add(op, [net.weight(net.values[x] > 0), x, other])
    return net.add(op, [x, other] if op == "PRelu" or draw(st.booleans()) else [other, x])


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def join(draw: Draw, net: Network, x: str) -> list[str]:
    shape = net.values[x].shape
    axis = axis_of(draw, len(shape)) if shape else 0
    alike = [
        n
        for n in net.tensors()
        if len(net.values[n].shape) == len(shape)
        and all(
            a == b or i == axis % len(shape) for i, (a, b) in enumerate(zip(net.values[n].shape, shape, strict=True))
        )
    ]
    parts = [draw(st.sampled_from([x, *alike])) for _ in range(draw(st.integers(1, 2)))]
    return net.add("Concat", [x, *parts], axis=axis) if shape else []


def turn(draw: Draw, net: Network, x: str) -> list[str]:
    rank = net.values[x].ndim
    return net.add("Transpose", [x], perm=draw(st.permutations(range(rank)))) if rank else []


def regroup(draw: Draw, net: Network, x: str) -> list[str]:
    sizes = list(net.values[x].shape)
    kind = draw(st.sampled_from(["join", "split", "split", "flatten", "any"]))
    if kind == "flatten":
        return net.add("Flatten", [x], axis=draw(st.integers(0, len(sizes))))
    at = draw(st.integers(0, max(len(sizes) - 1, 0)))
    if kind == "join" and at + 1 < len(sizes):
        sizes[at : at + 2] = [sizes[at] * sizes[at + 1]]
    elif kind == "split" and sizes:
        parts = [d for d in range(1, sizes[at] + 1) if sizes[at] % d == 0] or [1]
        part = draw(st.sampled_from(parts))
        sizes[at : at + 1] = [part, sizes[at] // part]
    elif sizes:
        total = math.prod(sizes)
        first = draw(st.sampled_from([d for d in range(1, min(total, 12) + 1) if total % d == 0] or [0]))
        rest = total // first if first else 0
        second = draw(st.sampled_from([d for d in range(1, min(rest, 12) + 1) if rest % d == 0] or [0]))
        sizes = [first, second, rest // second if second else 0]
    if sizes and math.prod(sizes) and draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    return net.add("Reshape", [x, net.weight(vector(*sizes))])


def reduce(draw: Draw, net: Network, x: str) -> list[str]:
    op = draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceSum"]))
    axes = axes_of(draw, net.values[x].ndim, least=1)
    if not axes:
        return []
    keep = draw(st.integers(0, 1))
    if net.opset >= 18 or op == "ReduceSum":
        return net.add(op, [x, net.weight(vector(*axes))], keepdims=keep)
    return net.add(op, [x], keepdims=keep, axes=axes)


def fit(draw: Draw, net: Network, x: str) -> list[str]:
    """Pad, slice, tile, split."""
    shape = net.values[x].shape
    rank = len(shape)
    op = draw(st.sampled_from(["Pad", "Slice", "Split", "Tile"]))
    if op == "Pad":
        how = draw(st.sampled_from(["constant", "reflect", "edge"]))
        amounts = [draw(st.integers(-1 if s > 3 else 0, min(s - 1, 1) if how == "reflect" else 2)) for s in shape * 2]
        return net.add(op, [x, net.weight(vector(*amounts))], mode=how)
    if op == "Tile":
        return net.add(op, [x, net.weight(vector(*per_axis(draw, [1, 1, 1, 2], rank)))])
    axes = axes_of(draw, rank, least=1)
    if op == "Split":
        size = shape[axes[0]] if axes else 0
        cut = draw(st.integers(0, size))
        return net.add(op, [x, net.weight(vector(cut, size - cut))], 2, axis=axes[0]) if axes else []
    begins = [draw(st.integers(-3, 2)) for _ in axes]
    ends = [draw(st.sampled_from([100, -1, 3, -100])) for _ in axes]
    steps = [draw(st.sampled_from([1, 1, 2, -1])) for _ in axes]
    return net.add(op, [x, *(net.weight(vector(*v)) for v in (begins, ends, axes, steps))])


def squeeze(draw: Draw, net: Network, x: str) -> list[str]:
    shape = net.values[x].shape
    ones = [i for i, s in enumerate(shape) if s == 1]
    if ones and draw(st.booleans()):
        axes = draw(st.permutations(ones))[: draw(st.integers(1, len(ones)))]
        return net.add("Squeeze", [x, net.weight(vector(*axes))])
    axes = axes_of(draw, len(shape) + 1, least=1)[:1]
    return net.add("Unsqueeze", [x, net.weight(vector(*axes))])


def pick(draw: Draw, net: Network, x: str) -> list[str]:
    shape = net.values[x].shape
    axis = axis_of(draw, len(shape)) if shape else 0
    size = shape[axis] if shape else 0
    places = np.random.default_rng(draw(st.integers(0, 9))).integers(-size, max(size, 1), draw(SHAPES_OF_PLACES))
    return net.add("Gather", [x, net.weight(np.array(places, np.int64))], axis=axis) if size else []


SHAPES_OF_PLACES = st.sampled_from([(), (2,), (1,), (2, 2), (3,)])


def normalize(draw: Draw, net: Network, x: str) -> list[str]:
    shape = net.values[x].shape
    rank = len(shape)
    op = draw(st.sampled_from(["BatchNormalization", "InstanceNormalization", "LayerNormalization", "Softmax", "LRN"]))
    if op == "Softmax":
        return net.add(op, [x], axis=axis_of(draw, rank)) if rank else []
    if rank < 2:
        return []
    if op == "LRN":
        return net.add(op, [x], size=3) if rank == 4 else []
    if op == "LayerNormalization":
        axis = axis_of(draw, rank)
        return net.add(op, [x, net.weight(floats(draw, shape[axis:]))], axis=axis, epsilon=0.1)
    weights = [net.weight(floats(draw, (shape[1],))) for _ in range(2)]
    if op == "BatchNormalization":
        weights += [net.weight(floats(draw, (shape[1],))), net.weight(np.abs(floats(draw, (shape[1],))) + 1)]
    return net.add(op, [x, *weights], epsilon=0.1)


def multiply(draw: Draw, net: Network, x: str) -> list[str]:
    shape = net.values[x].shape
    if not shape:
        return []
    if len(shape) == 2 and draw(st.booleans()):
        turned = draw(st.integers(0, 1))
        w = floats(draw, (2, shape[1]) if turned else (shape[1], 2)) / 4
        return net.add("Gemm", [x, net.weight(w), net.weight(floats(draw, (2,)))], transB=turned)
    return net.add("MatMul", [x, net.weight(floats(draw, (shape[-1], draw(st.integers(1, 3)))) / 4)])


def rearrange(draw: Draw, net: Network, x: str) -> list[str]:
    shape = net.values[x].shape
    op = draw(st.sampled_from(["DepthToSpace", "SpaceToDepth", "Resize", "CumSum", "Expand"]))
    if op == "Resize":
        factors = np.array([1 if i < 2 else draw(st.sampled_from([1, 2, 0.5])) for i in range(len(shape))], np.float32)
        how = draw(st.sampled_from(["nearest", "linear"]))
        names = [x, net.weight(np.zeros(0, np.float32)), net.weight(factors)]
        return net.add(op, names, mode=how) if len(shape) in (3, 4) else []
    if op == "CumSum":
        return net.add(op, [x, net.weight(np.array(axis_of(draw, len(shape)), np.int64))]) if shape else []
    if op == "Expand":
        return net.add(op, [x, net.weight(vector(*[2 if s == 1 and draw(st.booleans()) else s for s in shape]))])
    extra = {"mode": draw(st.sampled_from(["DCR", "CRD"]))} if op == "DepthToSpace" else {}
    return net.add(op, [x], blocksize=2, **extra) if len(shape) == 4 else []


def is_exact(array: np.ndarray) -> bool:
    """Whether an array holds sixty-fourths, which came about without rounding: jumps and ties are decided alike."""
    return bool(array.size) and bool((array * 64 == np.round(array * 64)).all())


def quantize(draw: Draw, net: Network, x: str) -> list[str]:
    """To eight bits and back, for all or by channel."""
    shape = net.values[x].shape
    if not is_exact(net.values[x]):
        return []
    axis = draw(st.integers(0, len(shape) - 1)) if shape and draw(st.booleans()) else None
    size = () if axis is None else (shape[axis],)
    scale = np.full(size, 0.25, np.float32) * (1 + np.arange(size[0] if size else 1).reshape(size) % 2)
    zero = np.zeros(size, draw(st.sampled_from([np.int8, np.uint8])))
    grid = [net.weight(scale.astype(np.float32)), net.weight(zero)]
    attributes = {} if axis is None else {"axis": axis}
    made = net.add("QuantizeLinear", [x, *grid], **attributes)
    return net.add("DequantizeLinear", [*made, *grid], **attributes) if made else []


def choose(draw: Draw, net: Network, x: str) -> list[str]:
    """The largest elements or where they are."""
    shape = net.values[x].shape
    if not shape or not is_exact(net.values[x]):
        return []
    axis = axis_of(draw, len(shape))
    if draw(st.booleans()):
        return net.add("TopK", [x, net.weight(vector(draw(st.integers(1, shape[axis]))))], 2, axis=axis)
    made = net.add("ArgMax", [x], axis=axis, keepdims=draw(st.integers(0, 1)))
    return net.add("Cast", made, to=1) if made else []


STEPS: tuple[Step, ...] = (
    *(convolve, convolve, pool, activate, combine, combine, join, join, turn, turn, regroup, regroup, reduce),
    *(fit, fit, squeeze, pick, normalize, multiply, rearrange, quantize, choose),
)


@st.composite
def networks(draw: Draw) -> Network:
    """Networks of up to ten steps upon one or two images."""
    axes = draw(st.sampled_from([2, 2, 1, 3]))
    size = draw(st.sampled_from([3, 2, 4, 1]))
    batch = draw(st.sampled_from([2, 1, size]))
    shape = (
        (batch, size, *[size] * axes) if draw(st.booleans()) else (batch, *per_axis(draw, [3, 4, 5, 1, 2], axes + 1))
    )
    inputs = {"x": floats(draw, shape)}
    if draw(st.booleans()):
        inputs["z"] = floats(draw, shape if draw(st.booleans()) else (batch, *per_axis(draw, [3, 4, 1], axes + 1)))
    net = Network(draw(st.sampled_from([13, 17, 18, 21])), inputs, draw(st.booleans()))
    net.values |= inputs
    for _ in range(draw(st.integers(2, 10))):
        latest = net.tensors()[-1] if not net.nodes else net.nodes[-1].output[0]
        x = latest if draw(st.integers(0, 3)) else draw(st.sampled_from(net.tensors()))
        draw(st.sampled_from(STEPS))(draw, net, x)
    return net
