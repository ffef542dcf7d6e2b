"""If, Loop and Scan against ONNX Runtime, with captured values, zero trips, early ends and nesting."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, parser

from tests.operators.parity import check
from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_to_module import OnnxModule
from xport.errors import UnsupportedError

EVERY = ("savedmodel", "tflite", "torch", "script", "exported")


def parsed(text: str, opset: int = 17) -> onnx.ModelProto:
    """A model from ONNX's text form."""
    return parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(np.float32)


BRANCH = """
agraph (bool c, float[n, 3] x) => (float[n, 3] y) {
    w = Constant <value_floats = [1.0, 2.0, 3.0]> ()
    y = If (c) <
        then_branch = t () => (float[n, 3] a) {
            k = Constant <value_floats = [0.5, 0.25, 4.0]> ()
            s = Mul (x, w)
            a = Add (s, k)
        },
        else_branch = e () => (float[n, 3] b) { b = Sub (x, w) }
    >
}
"""


def test_a_branch_is_chosen_at_run_time() -> None:
    yes, no = (np.array(v) for v in (True, False))
    check(parsed(BRANCH), [yes, numbers(2, 3)], [no, numbers(4, 3)], targets=EVERY)


def test_a_known_condition_leaves_one_branch() -> None:
    model = parsed(BRANCH)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(False), "c"))
    del model.graph.input[0]
    check(model, [numbers(2, 3)], [numbers(1, 3)], targets=EVERY)
    module = OnnxModule(onnx_model.infer_shapes(ir.from_proto(model)))
    program = torch.export.export(module, (torch.ones(2, 3),))
    assert not any("cond" in str(node.target) for node in program.graph.nodes)


LOOP = """
agraph (int64 m, bool c, float[n] x) => (float[n] last, float[trips, n] rows) {
    w = Constant <value_float = 0.5> ()
    last, rows = Loop (m, c, x) <body = b (int64 i, bool go, float[n] h) => (bool more, float[n] next, float[n] row) {
        scaled = Mul (h, w)
        f = CastLike (i, scaled)
        next = Add (scaled, f)
        total = ReduceSum <keepdims = 0> (next)
        bound = Constant <value_float = 9.0> ()
        more = Less (total, bound)
        row = Neg (next)
    }>
}
"""


def test_a_loop_ends_by_count_or_by_condition() -> None:
    go, x = np.array(True), numbers(3)
    feeds = [[np.array(n, np.int64), go, x] for n in (3, 1, 40)]
    check(parsed(LOOP), *feeds, targets=EVERY, rtol=1e-4)


@pytest.mark.parametrize("target", ["savedmodel", "torch", "script"])
def test_a_loop_that_never_runs(target: str) -> None:
    feed = [np.array(3, np.int64), np.array(True), numbers(3)]
    none = [np.array(0, np.int64), np.array(True), numbers(3)]
    stopped = [np.array(3, np.int64), np.array(False), numbers(3)]
    model = parsed(LOOP.replace("float[n]", "float[3]").replace("float[trips, n]", "float[trips, 3]"))
    check(model, feed, none, stopped, targets=[target])


GROWING = """
agraph (int64 m, float[n] x) => (float[k] y) {
    c = Constant <value = bool {1}> ()
    y = Loop (m, c, x) <body = b (int64 i, bool go, float[p] h) => (bool go, float[q] next) {
        next = Concat <axis = 0> (h, x)
    }>
}
"""


def test_a_state_may_grow() -> None:
    model = parsed(GROWING.replace("(bool go, float[q] next) {", "(bool more, float[q] next) { more = Identity (go)"))
    feeds = [[np.array(n, np.int64), numbers(2)] for n in (3, 5)]
    check(model, *feeds, targets=("savedmodel", "tflite", "torch", "script"))
    with pytest.raises(UnsupportedError, match="loop state"):
        check(model, *feeds, targets=("exported",))


def test_short_known_loops_are_written_out() -> None:
    model = parsed(LOOP)
    for name, array in (("m", np.array(3, np.int64)), ("c", np.array(True))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    del model.graph.input[:2]
    check(model, [numbers(3)], [numbers(3) * 50], targets=("savedmodel", "torch"))


SCAN = """
agraph (float[n, 2] start, float[n, t, 2] x) => (float[n, 2] last, float[t, n, 2] sums) {
    w = Constant <value_floats = [0.5, 2.0]> ()
    last, sums = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
                       scan_output_directions = [1]> (start, x) <body = b (float[n, 2] h, float[n, 2] v)
        => (float[n, 2] next, float[n, 2] out) { s = Mul (v, w) next = Add (h, s) out = Tanh (next) }>
}
"""


def test_scan_runs_backwards_over_any_axis() -> None:
    text = SCAN.replace(" <body = b", " <body = b").replace("> (start, x) <body", ", body").replace("{ s =", "{ s =")
    text = text.replace("out = Tanh (next) }>", "out = Tanh (next) }> (start, x)")
    feeds = [[numbers(n, 2), numbers(n, t, 2)] for n, t in ((2, 4), (3, 7), (1, 1))]
    check(parsed(text), *feeds, targets=EVERY)


NESTED = """
agraph (int64 m, float[n] x) => (float[n] y) {
    c = Constant <value = bool {1}> ()
    y = Loop (m, c, x) <body = b (int64 i, bool go, float[n] h) => (bool more, float[n] next) {
        more = Identity (go)
        s = ReduceSum <keepdims = 0> (h)
        zero = Constant <value_float = 0.0> ()
        positive = Greater (s, zero)
        next = If (positive) <
            then_branch = t () => (float[n] a) { a = Sub (h, x) },
            else_branch = e () => (float[n] q) { q = Add (h, x) }
        >
    }>
}
"""


def test_a_branch_within_a_loop() -> None:
    feeds = [[np.array(n, np.int64), numbers(3)] for n in (9, 12)]
    check(parsed(NESTED), *feeds, targets=EVERY)


def test_a_sequence_lives_while_converting() -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0, keepdims=0),
        helper.make_node("SequenceAt", ["parts", "last"], ["tail"]),
        helper.make_node("SequenceInsert", ["parts", "tail", "first"], ["more"]),
        helper.make_node("SequenceErase", ["more", "last"], ["fewer"]),
        helper.make_node("SequenceLength", ["fewer"], ["count"]),
        helper.make_node("ConcatFromSequence", ["fewer"], ["y"], axis=1, new_axis=1),
    ]
    known = {"last": np.array(-1, np.int64), "first": np.array(0, np.int64)}
    graph = helper.make_graph(
        nodes,
        "sequences",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, "n"])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
        ],
        [onnx.numpy_helper.from_array(a, n) for n, a in known.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    check(model, [numbers(4, 3)], [numbers(4, 5)], targets=EVERY)


@pytest.mark.parametrize("op", ["RandomNormalLike", "Bernoulli"])
def test_random_numbers_are_refused(op: str) -> None:
    model = parsed(f"agraph (float[2] x) => (float[2] y) {{ y = {op} (x) }}")
    with pytest.raises(UnsupportedError, match="random"):
        OnnxModule(onnx_model.infer_shapes(ir.from_proto(model)))(torch.ones(2))


ROWS = """
agraph (int64 m, TYPE[n, 3] x, TYPE[3] first) => (TYPE[3] last, TYPE[m, 3] rows, TYPE[3] final, TYPE[n, 3] seen) {
    c = Constant <value = bool {1}> ()
    turn = Constant <value_ints = [1, 2, 0]> ()
    last, rows = Loop (m, c, first) <body = b (int64 i, bool go, TYPE[3] h) => (bool more, TYPE[3] next, TYPE[3] row) {
        more = Identity (go)
        next = Gather (h, turn)
        row = Identity (h)
    }>
    final, seen = Scan <num_scan_inputs = 1, body = s (TYPE[3] g, TYPE[3] e) => (TYPE[3] after, TYPE[3] kept) {
        after = Gather (e, turn)
        kept = Identity (g)
    }> (first, x)
}
"""


@pytest.mark.parametrize(
    ("name", "dtype"), [("float16", np.float16), ("double", np.float64), ("bool", np.bool_), ("uint8", np.uint8)]
)
def test_rows_of_every_type_are_collected(name: str, dtype: type[np.generic]) -> None:
    model = parsed(ROWS.replace("TYPE", name))
    feeds = [
        [np.array(trips, np.int64), (numbers(rows, 3) * 9).astype(dtype), (numbers(3) * 5).astype(dtype)]
        for trips, rows in ((2, 4), (5, 1))
    ]
    check(model, *feeds, rtol=0, atol=0)
