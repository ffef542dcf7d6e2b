"""Sources that are quantized already, on their way to other formats."""

import importlib

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from quantizing_nets import samples

import xport

torch = pytest.importorskip("torch")
nn = torch.nn
importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers torch.ops.quantized_decomposed

pytestmark = pytest.mark.slow
OPS = torch.ops.quantized_decomposed


class Quantized(nn.Module):
    """What PyTorch 2 export quantization makes of a small classifier: its reference form, by hand."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("w1", torch.randint(-127, 128, (6, 1, 3, 3), generator=generator).to(torch.int8))
        self.register_buffer("s1", torch.rand(6, generator=generator) * 0.004 + 0.002)
        self.register_buffer("w2", torch.randint(-127, 128, (4, 216), generator=generator).to(torch.int8))
        self.register_buffer("s2", torch.rand(4, generator=generator) * 0.002 + 0.001)

    def weight(self, values, scales):
        zeros = torch.zeros(scales.shape, dtype=torch.int64)
        return OPS.dequantize_per_channel(values, scales, zeros, 0, -127, 127, torch.int8)

    def rounded(self, x, scale, zero):
        q = OPS.quantize_per_tensor(x, scale, zero, -128, 127, torch.int8)
        return OPS.dequantize_per_tensor(q, scale, zero, -128, 127, torch.int8)

    def forward(self, x):
        x = self.rounded(x, 0.03, -3)
        x = torch.relu(nn.functional.conv2d(x, self.weight(self.w1, self.s1)))
        x = self.rounded(x, 0.05, -128).flatten(1)
        return self.rounded(nn.functional.linear(x, self.weight(self.w2, self.s2)), 0.4, 7)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2e") / "quantized.pt2"
    batch = torch.export.Dim("batch")
    made = torch.export.export(Quantized().eval(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(made, path)
    return path


def test_a_program_quantized_by_pytorch_keeps_its_scales_in_onnx(program, tmp_path):
    artifact = xport.convert(program, to="onnx", output=tmp_path / "q.onnx")
    model = onnx.load(artifact.path)
    known = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    known |= {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in model.graph.node if n.op_type == "Constant"}
    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    found = [(round(float(known[n.input[1]]), 6), int(known[n.input[2]])) for n in quantizers]
    assert found == [(0.03, -3), (0.05, -128), (0.4, 7)]
    assert {known[n.input[0]].dtype.name for n in model.graph.node if n.input[0] in known and "Dequ" in n.op_type} == {
        "int8"
    }


def test_a_program_quantized_by_pytorch_becomes_int8_tflite(program, tmp_path):
    artifact = xport.convert(program, to="tflite", output=tmp_path / "q.tflite")
    from xport.convert.importing.tflite_file import File

    file = File(artifact.path)
    graph = file.model.subgraphs[0]
    layers = [op for op in graph.operators if file.operator(op) in ("CONV_2D", "FULLY_CONNECTED")]
    scales = [file.quantization(graph.tensors[op.inputs[1]]).scale for op in layers]
    assert all(file.dtype(graph.tensors[op.inputs[1]]) == "int8" for op in layers)
    module = Quantized()
    assert {len(s) for s in scales} == {6, 4}
    for scale in scales:
        np.testing.assert_array_equal(scale, (module.s1 if len(scale) == 6 else module.s2).numpy())
    assert "tried" not in artifact.proof.options
    assert xport.verify(artifact.path).passed
    x = samples({"x": (1, 8, 8)}, 5)["x"]
    wanted = module.eval()(torch.from_numpy(x)).numpy()
    (name,) = [s.name for s in artifact.signature.inputs]
    with xport.load(artifact.path) as model:
        (found,) = model({name: x}).values()
    assert np.abs(wanted - found).max() <= 0.801


def test_what_int8_cannot_express_is_computed_in_floats_and_told(tmp_path):
    from onnx import TensorProto, helper

    weights = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    constants = {"w": weights, "s": np.float32(0.0001), "z": np.int16(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    graph = helper.make_graph(
        nodes, "g", [x], [y], [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "q.onnx")
    artifact = xport.convert(tmp_path / "q.onnx", to="tflite", output=tmp_path / "q.tflite")
    (lost,) = artifact.proof.options["tried"]
    assert "eight bits" in lost["reason"]
