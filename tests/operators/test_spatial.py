from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import xport
from tests.operators.parity import check, node_model

AUTO = ("NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def array(rng: random.Random, *sizes: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(rng.randrange(1 << 30)).normal(size=sizes).astype(dtype)


def window(rng: random.Random, n: int, kernel: list[int], auto: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {"strides": [rng.choice([1, 1, 2, 3]) for _ in range(n)]}
    if auto != "NOTSET":
        attributes["auto_pad"] = auto
    elif rng.random() < 0.7:
        attributes["pads"] = [rng.randrange(k) for k in kernel * 2]
    return attributes


@pytest.mark.parametrize("seed", range(14))
def test_conv(seed: int) -> None:
    rng = random.Random(seed)
    n = 1 + seed % 3
    groups, per_group, out = rng.choice([(1, 1, 1), (1, 3, 3), (2, 2, 3), (3, 1, 1), (3, 1, 2), (4, 1, 1)])
    kernel = [rng.choice([1, 2, 3]) for _ in range(n)]
    sizes = [rng.choice([5, 6, 7, 9]) for _ in range(n)]
    auto = rng.choice(AUTO)
    attributes = window(rng, n, kernel, auto) | {"group": groups}
    if auto == "NOTSET":
        attributes["dilations"] = [rng.choice([1, 1, 2]) for _ in range(n)]
    inputs = [array(rng, 2, groups * per_group, *sizes), array(rng, groups * out, per_group, *kernel)]
    if rng.random() < 0.5:
        inputs.append(array(rng, groups * out))
    constants = [1, 2][: len(inputs) - 1] if rng.random() < 0.7 else []
    model = node_model("Conv", inputs, attributes, opset=13, constants=constants)
    check(model, [x for i, x in enumerate(inputs) if i not in constants], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1, 1, 1, 1], "strides": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 3]},
        {"pads": [0, 1, 2, 1], "dilations": [2, 1], "group": 4},
    ],
)
def test_conv_at_sizes_unseen_in_conversion(attributes: dict[str, Any]) -> None:
    rng = random.Random(0)
    w = array(rng, 4, 4 // attributes.get("group", 1), 3, 3)
    first, second = array(rng, 1, 4, 4, 4), array(rng, 3, 4, 9, 6)
    model = node_model("Conv", [first, w], attributes, opset=13, constants=[1], symbolic=True)
    may_refuse = ("tflite",) if attributes.get("auto_pad") == "SAME_LOWER" else ()  # its converter loses the channels
    check(model, [first], [second], rtol=1e-4, atol=1e-5, may_refuse=may_refuse)


@pytest.mark.parametrize("seed", range(14))
def test_conv_transpose(seed: int) -> None:
    rng = random.Random(100 + seed)
    n = 1 + seed % 3
    groups, per_group, out = rng.choice([(1, 2, 3), (1, 1, 1), (2, 2, 1), (3, 1, 1), (3, 1, 2)])
    kernel = [rng.choice([1, 2, 3, 4]) for _ in range(n)]
    sizes = [rng.choice([1, 2, 4, 5]) for _ in range(n)]
    strides = [rng.choice([1, 2, 3]) for _ in range(n)]
    attributes: dict[str, Any] = {"group": groups, "strides": strides}
    shape = rng.random()
    if shape < 0.2:
        attributes["auto_pad"] = rng.choice(["SAME_UPPER", "SAME_LOWER"])
        kernel = [max(k, s) for k, s in zip(kernel, strides, strict=True)]
    elif shape < 0.4:
        full = [(size - 1) * s + k for size, s, k in zip(sizes, strides, kernel, strict=True)]
        attributes["output_shape"] = [max(f - rng.randrange(2), 1) for f in full]
    else:
        attributes["dilations"] = [rng.choice([1, 1, 2]) for _ in range(n)]
        attributes["output_padding"] = [rng.randrange(s) for s in strides]
        if min(sizes) > 1:
            attributes["pads"] = [rng.randrange(min(k, 2)) for k in kernel * 2]
    inputs = [array(rng, 2, groups * per_group, *sizes), array(rng, groups * per_group, out, *kernel)]
    inputs.append(array(rng, groups * out))
    model = node_model("ConvTranspose", inputs, attributes, opset=13, constants=[1, 2])
    check(model, inputs[:1], rtol=1e-4, atol=1e-5)


def transposes_in(proto: onnx.ModelProto) -> int:
    """How many transposes the SavedModel's graph holds."""
    import onnx_ir as ir

    from xport.convert.lowering import model as onnx_model
    from xport.convert.onnx_signature import signature_of
    from xport.convert.onnx_to_savedmodel import OnnxFunction

    model = onnx_model.infer_shapes(ir.from_proto(proto))
    function = OnnxFunction(model, signature_of(model))
    return sum(op.type == "Transpose" for op in function.concrete.graph.get_operations())


def test_a_network_keeps_its_images_channels_last() -> None:
    rng = random.Random(1)
    names = {"w": array(rng, 8, 3, 3, 3), "d": array(rng, 8, 1, 3, 3), "s": array(rng, 8), "v": np.ones(8, np.float32)}
    names["scales"] = np.array([1, 1, 2, 2], np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "s", "s", "s", "v"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "d"], ["e"], group=8, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["e"], ["f"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["f"], ["g"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("InstanceNormalization", ["g", "s", "s"], ["h"]),
        helper.make_node("Resize", ["h", "", "scales"], ["i"], mode="linear"),
        helper.make_node("LRN", ["i"], ["j"], size=3),
        helper.make_node("DepthToSpace", ["j"], ["k"], blocksize=2),
        helper.make_node("GlobalAveragePool", ["k"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", 1, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("y", 1, ["n", 2, 1, 1])
    known = [onnx.numpy_helper.from_array(value, name) for name, value in names.items()]
    graph = helper.make_graph(nodes, "net", [x], [y], known)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert transposes_in(proto) == 1
    check(proto, [array(rng, 2, 3, 8, 8)], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("allowzero", [0, 1])
def test_a_flattened_image_puts_its_order_into_the_weight_behind_it(allowzero: int) -> None:
    rng = random.Random(2)
    known = {"w": array(rng, 4, 3, 3, 3), "m": array(rng, 36, 5), "sizes": np.array([-1, 36], np.int64)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "sizes"], ["b"], allowzero=allowzero),
        helper.make_node("Gemm", ["b", "m"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", 1, ["n", 3, 5, 5])
    y = helper.make_tensor_value_info("y", 1, ["n", 5])
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in known.items()]
    graph = helper.make_graph(nodes, "net", [x], [y], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert transposes_in(proto) == 1
    check(proto, [array(rng, 2, 3, 5, 5)], [array(rng, 3, 3, 5, 5)], rtol=1e-4, atol=1e-4)


def test_grouped_conv_runs_without_onednn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every TensorFlow has oneDNN, and its own kernels know neither fused groups nor uneven depthwise steps."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    rng = random.Random(0)
    for name, attributes in {"grouped": {"group": 2}, "depthwise": {"group": 4, "strides": [1, 2]}}.items():
        x, w, b = array(rng, 2, 4, 6, 6), array(rng, 4, 4 // attributes["group"], 3, 3), array(rng, 4)
        onnx.save(node_model("Conv", [x, w, b], attributes, opset=13, constants=[1, 2]), tmp_path / f"{name}.onnx")
        xport.convert(tmp_path / f"{name}.onnx", to="savedmodel", output=tmp_path / name)
