"""Sums of very many floats stay exact where a runtime adds them in a row, as TFLite does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import xport


class Excitation(nn.Module):
    """Squeeze and excitation, as EfficientNet and MobileNetV3 have it behind images of 112 x 112."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))


NETS = {
    "excitation": lambda: [nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), Excitation(16), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    "group norm": lambda: [nn.Conv2d(3, 32, 3, 2, 1), nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 8, 1)],
}


@pytest.mark.parametrize("name", NETS)
def test_networks_that_average_images(name, tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(*NETS[name]()).eval()
    size = 224 if name == "excitation" else 128
    made = xport.convert(module, "tflite", tmp_path / "net.tflite", inputs=[f"input:float32[batch,3,{size},{size}]"])
    (verdict,) = made.proof.parity
    assert verdict["ratio"] < 4


@pytest.mark.parametrize(
    ("op", "shape", "attributes"),
    [
        ("GlobalAveragePool", ["batch", 4, 32, 48], {}),
        ("GlobalAveragePool", ["batch", 4, "height", "width"], {}),
        ("ReduceMean", [2, 10007], {"axes": [1], "keepdims": 0}),  # a prime: nothing to divide it by
        ("ReduceMean", [2, 3, 8192], {"axes": [2], "keepdims": 0}),
        ("ReduceSum", [2, 64, 64, 3], {"axes": [1, 2], "keepdims": 0}),
    ],
)
def test_reductions_keep_shape_and_numbers(op, shape, attributes, tmp_path):
    node = helper.make_node(op, ["x"], ["y"], **attributes)
    rank = len(shape) - (0 if op == "GlobalAveragePool" else len(attributes["axes"]))
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"y{i}" for i in range(rank)])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), tmp_path / "net.onnx"
    )
    made = xport.convert(tmp_path / "net.onnx", "tflite", tmp_path / "net.tflite")
    sizes = [size if isinstance(size, int) else 50 for size in shape]
    x = np.full(sizes, 0.1, np.float32)  # every rounding goes the same way
    with xport.load(made.path) as run:
        y = run({"x": x})["y"]
    count = 1 if op == "ReduceSum" else np.prod(sizes) / y.size
    expected = x.sum(dtype=np.float64) / y.size / count
    np.testing.assert_allclose(y, expected, rtol=2e-5 if sizes[-1] == 10007 else 2e-6)
