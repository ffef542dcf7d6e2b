"""One small sound model in every format that xport reads: what the hostile files are made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FORMATS = (
    "state.pt",
    "pickled.pt",
    "script.pt",
    "program.pt2",
    "x.safetensors",
    "x.onnx",
    "x.keras",
    "x.h5",
    "x.tflite",
)
"""The seeds that are one file."""


def onnx_model() -> onnx.ModelProto:
    """y = relu(x w) with a batch of any size."""
    weight = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def build(folder: Path) -> None:
    """Write every seed into a folder."""
    _torch(folder)
    onnx.save(onnx_model(), folder / "x.onnx")
    _tensorflow(folder)
    _seal(folder)


def _seal(folder: Path) -> None:
    """The same with a proof and a golden case inside."""
    from xport import proof
    from xport.artifact import Proof
    from xport.formats import Format
    from xport.signature import Signature, TensorSpec

    kinds = {"sealed.onnx": ("x.onnx", Format.ONNX), "sealed.tflite": ("x.tflite", Format.TFLITE)}
    kinds["sealed.pt"] = ("script.pt", Format.TORCHSCRIPT)
    signature = Signature((TensorSpec("x", "float32", ("batch", 4)),), (TensorSpec("y", "float32", ("batch", 3)),))
    made = Proof({"name": "x", "format": "onnx"}, ("onnx",), {"onnx": "1"}, created="2026-01-01T00:00:00+00:00")
    cases = [({"x": np.zeros((1, 4), np.float32)}, {"y": np.zeros((1, 3), np.float32)})]
    for name, (plain, kind) in kinds.items():
        shutil.copy(folder / plain, folder / name)
        proof.attach(folder / name, kind, signature, made, cases)


def _torch(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()).eval()
    torch.save(net.state_dict(), folder / "state.pt")
    torch.save(net, folder / "pickled.pt")
    save_file(net.state_dict(), folder / "x.safetensors")
    torch.jit.trace(net, torch.zeros(2, 4)).save(str(folder / "script.pt"))
    batch = torch.export.Dim("batch")
    torch.export.save(
        torch.export.export(net, (torch.zeros(2, 4),), dynamic_shapes=({0: batch},)), folder / "program.pt2"
    )


def _tensorflow(folder: Path) -> None:
    import keras
    import tensorflow as tf

    net = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, activation="relu", name="y")])
    net.save(folder / "x.keras")
    net.save(folder / "x.h5")
    net.export(folder / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    (folder / "x.tflite").write_bytes(converter.convert())
