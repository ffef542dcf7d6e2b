"""QDQ ONNX to int8 TFLite: the step itself, in this process."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from quantizing_nets import run, samples, save_residual, save_two_inputs

pytest.importorskip("tensorflow")
from xport.convert.importing.tflite_file import File
from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_signature import read_signature
from xport.convert.quantizing import onnx_to_tflite_int8, static
from xport.convert.quantizing.int_graph import build
from xport.convert.quantizing.preparing import prepare
from xport.convert.source import open_source
from xport.errors import UnsupportedError

IMAGE = {"x": (3, 12, 12)}
TWO = {"a": (6,), "b": (4,)}
LAYERS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


@pytest.fixture
def int8(tmp_path):
    """A quantized ONNX model of a float one."""

    def make(save, sizes, keep=()):
        data = samples(sizes)
        batches = [{n: a[i : i + 16] for n, a in data.items()} for i in range(0, 64, 16)]
        source = save(tmp_path / "net.onnx")
        target = tmp_path / "int8.onnx"
        static.quantize(prepare(source, tmp_path / "prepared.onnx", keep), target, batches, batches)
        return target

    return make


def convert(path):
    target = path.with_suffix(".tflite")
    onnx_to_tflite_int8.convert(open_source(path), target, read_signature(path), {})
    return target


def tflite(path, inputs):
    from ai_edge_litert.interpreter import Interpreter

    (found,) = Interpreter(str(path)).get_signature_runner()(**inputs).values()
    return found


def layers(path):
    """Of every layer: its kind, the dtype of its weights, their scales and integers."""
    file = File(path)
    graph = file.model.subgraphs[0]
    found = []
    for op in graph.operators:
        if file.operator(op) in LAYERS:
            tensor = graph.tensors[op.inputs[1]]
            grid = file.quantization(tensor)
            found.append((file.operator(op), file.dtype(tensor), grid, file.array(tensor)))
    return found


def activations(path):
    """Scale and zero point of every tensor that is computed."""
    file = File(path)
    graph = file.model.subgraphs[0]
    grids = [file.quantization(t) for t in graph.tensors if not file.has_data(t)]
    return {(float(g.scale[0]), int(g.zero[0])) for g in grids if g is not None}


def constants(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def source_activations(path):
    known = constants(path)
    return {
        (float(known[n.input[1]]), int(known[n.input[2]]) - (128 if known[n.input[2]].dtype == np.uint8 else 0))
        for n in onnx.load(path).graph.node
        if n.op_type == "QuantizeLinear"
    }


def assert_same_integers(path, made, wanted):
    """Scales of the source, and integers of the source in some order, channel by channel."""
    kept = {tuple(np.ravel(known)) for name, known in constants(path).items() if name.endswith("_scale")}
    for _, dtype, grid, values in made:
        assert dtype == "int8"
        assert any(np.array_equal(np.unique(grid.scale), np.unique(scale)) for scale in kept)
        rows = np.sort(np.moveaxis(values, grid.axis, 0).reshape(values.shape[grid.axis], -1), axis=1)
        assert any(rows.shape == w.shape and np.array_equal(rows, w) for w in wanted)


def by_channel(values, axis=0):
    return np.sort(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1), axis=1)


def within_the_rule(path, made, sizes, *, equal=0.9):
    """The rule of docs/quantization.md: no value is more than two steps off, and most are equal."""
    step = max(scale for scale, _ in source_activations(path))
    for rows in (1, 32):
        inputs = samples(sizes, rows)
        wanted, found = run(path, inputs, plain=True), tflite(made, inputs)
        assert np.abs(wanted - found).max() <= 2.001 * step
        assert np.mean(np.abs(wanted - found) < 0.001 * step) >= equal


def test_scales_and_integers_are_the_sources(int8):
    path = int8(save_residual, IMAGE)
    made = convert(path)
    known = constants(path)
    wanted = [by_channel(known[f"w{i}_quantized"]) for i in (1, 2, 3, 4)]
    found = layers(made)
    assert sorted(kind for kind, *_ in found) == ["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]
    assert_same_integers(path, found, wanted)
    assert activations(made) == source_activations(path)
    within_the_rule(path, made, IMAGE)


def test_two_inputs_constants_and_tanh(int8):
    path = int8(save_two_inputs, TWO)
    made = convert(path)
    assert {dtype for _, dtype, *_ in layers(made)} == {"int8"}
    assert source_activations(path) <= activations(made) | {(1 / 128, 0)}
    file = File(made)
    shifts = [t for t in file.model.subgraphs[0].tensors if file.has_data(t) and file.array(t).size == 32]
    known = constants(path)
    assert any(np.array_equal(np.ravel(file.array(t)), known["shift_quantized"]) for t in shifts)
    within_the_rule(path, made, TWO, equal=0.6)  # TFLite's tanh has a grid of its own


def rewrite(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def put(model, name, array):
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(array, name))


def test_scales_that_leave_room_are_kept_too(int8):
    """The converter would choose 127 for the largest weight of a channel; a trained scale chooses otherwise."""
    path = int8(save_residual, IMAGE)
    before = constants(path)

    def widen(model):
        for name in ("w1", "w2", "w4"):
            put(model, f"{name}_scale", before[f"{name}_scale"] * np.float32(1.7))
            put(model, f"{name}_quantized", np.rint(before[f"{name}_quantized"] / 1.7).astype(np.int8))
        for name in ("b1", "b4"):  # the scale of a bias is the product of the input's and the weights'
            put(model, f"{name}_quantized_scale", before[f"{name}_quantized_scale"] * np.float32(1.7))
            put(model, f"{name}_quantized", np.rint(before[f"{name}_quantized"] / 1.7).astype(np.int32))

    rewrite(path, widen)
    made = convert(path)
    known = constants(path)
    assert np.abs(known["w1_quantized"]).max() < 80
    assert_same_integers(path, layers(made), [by_channel(known[f"w{i}_quantized"]) for i in (1, 2, 3, 4)])
    within_the_rule(path, made, IMAGE)


def test_one_scale_for_all_and_bytes_around_128(int8):
    path = int8(save_residual, IMAGE)
    before = constants(path)
    real = before["w3_quantized"] * before["w3_scale"].reshape(-1, 1, 1, 1)
    scale = np.float32(np.abs(real).max() / 120)

    def shift(model):
        put(model, "w3_scale", scale.reshape(()))
        put(model, "w3_zero_point", np.array(128, np.uint8))
        put(model, "w3_quantized", (np.rint(real / scale) + 128).astype(np.uint8))
        for node in model.graph.node:
            if "b3_quantized" in node.input:
                del node.attribute[:]
        bias = before["b3_quantized"] * before["b3_quantized_scale"]
        x_scale = before["relu2_out_scale"]
        put(model, "b3_quantized_scale", np.float32(scale * x_scale).reshape(()))
        put(model, "b3_quantized_zero_point", np.array(0, np.int32))
        put(model, "b3_quantized", np.rint(bias / (scale * x_scale)).astype(np.int32))

    rewrite(path, shift)
    made = convert(path)
    grids = [grid for kind, _, grid, values in layers(made) if kind == "CONV_2D" and values.size == 64]
    assert {float(s) for grid in grids for s in grid.scale} == {float(scale)}
    within_the_rule(path, made, IMAGE)


def test_layers_kept_in_float_stay_there_and_leave_no_trace(int8):
    path = int8(save_residual, IMAGE, keep=["pointwise"])
    made = convert(path)
    found = {(kind, values.size): dtype for kind, dtype, _, values in layers(made)}
    assert found == {
        ("CONV_2D", 216): "int8",
        ("DEPTHWISE_CONV_2D", 72): "int8",
        ("CONV_2D", 64): "float32",
        ("FULLY_CONNECTED", 1440): "int8",
    }
    file = File(made)
    graph = file.model.subgraphs[0]
    floats = [op for op in graph.operators if file.operator(op) == "ADD"]
    assert all(file.dtype(graph.tensors[op.inputs[0]]) == "int8" for op in floats)  # the skip, and no guard
    within_the_rule(path, made, IMAGE)


def test_qlinear_operators_are_read(tmp_path):
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    class Reader:
        def __init__(self):
            self.rows = iter([samples(IMAGE)])

        def get_next(self):
            return next(self.rows, None)

    source = save_residual(tmp_path / "net.onnx")
    path = tmp_path / "qlinear.onnx"
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(source, path, Reader(), quant_format=QuantFormat.QOperator, per_channel=True, **kinds)
    operators = {n.op_type for n in onnx.load(path).graph.node}
    assert {"QLinearConv", "QLinearAdd"} <= operators
    made = convert(path)
    assert {dtype for _, dtype, *_ in layers(made)} == {"int8"}
    inputs = samples(IMAGE, 6)
    known = constants(path)
    step = max(float(known[n.input[1]]) for n in onnx.load(path).graph.node if n.op_type == "DequantizeLinear")
    assert np.abs(run(path, inputs) - tflite(made, inputs)).max() <= 1.001 * step


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("w1_zero_point", np.array([1] + [0] * 7, np.int8), "one zero point a channel"),
        ("w1_quantized", np.full((8, 3, 3, 3), -128, np.int8), "with -128"),
        ("relu1_out_zero_point", np.array(0, np.int16), "another type than eight bits"),
    ],
)
def test_what_int8_cannot_express_is_refused_by_name(int8, name, array, told):
    path = rewrite(int8(save_residual, IMAGE), lambda model: put(model, name, array))
    with pytest.raises(UnsupportedError, match=told) as caught:
        build(onnx_model.infer_shapes(onnx_model.load(path)))
    assert "--via onnx_to_tflite" in caught.value.fix


def test_scales_that_are_computed_are_refused(int8):
    def compute(model):
        model.graph.initializer.remove(next(t for t in model.graph.initializer if t.name == "relu1_out_scale"))
        node = onnx.helper.make_node("ReduceMax", ["x"], ["relu1_out_scale"], keepdims=0)
        model.graph.node.insert(0, node)

    path = rewrite(int8(save_residual, IMAGE), compute)
    with pytest.raises(UnsupportedError, match="a scale that is computed"):
        build(onnx_model.load(path))
