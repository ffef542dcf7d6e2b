"""The two models of the protocol suite in every format; all their sums are exact.

``tiny``: ``y = x @ WEIGHT``. ``pair``: three outputs of two inputs, one of them of whole numbers.
Run as a script it writes them as SavedModels for a server of another kind: ``python models.py FOLDER``.
"""

import sys
from pathlib import Path

import numpy as np

from xport import proof
from xport.artifact import Proof
from xport.formats import Format
from xport.signature import Signature, TensorSpec
from xport.worker import Worker

WEIGHT = np.array([[1, 2, 0], [0, 1, -1], [2, 0, 1], [-1, 1, 3]], np.float32)
B = "batch"
TINY = Signature((TensorSpec("x", "float32", (B, 4)),), (TensorSpec("y", "float32", (B, 3)),))
PAIR = Signature(
    (TensorSpec("a", "float32", (B, 2)), TensorSpec("n", "int64", (B,))),
    (TensorSpec("total", "float32", (B,)), TensorSpec("half", "float32", (B, 2)), TensorSpec("positive", "bool", (B,))),
)
SIGNATURES = {"tiny": TINY, "pair": PAIR}

_TENSORFLOW = """
import tensorflow as tf
from pathlib import Path
S = tf.TensorSpec
tiny, pair = tf.Module(), tf.Module()
tiny.w = tf.Variable(weight)
tiny.f = tf.function(lambda x: {"y": tf.matmul(x, tiny.w)}, input_signature=[S([None, 4], name="x")])
pair.f = tf.function(
    lambda a, n: {"total": a[:, 0] + a[:, 1] + tf.cast(n, tf.float32), "half": a * 0.5, "positive": n > 0},
    input_signature=[S([None, 2], name="a"), S([None], tf.int64, name="n")],
)
for name, module in (("tiny", tiny), ("pair", pair)):
    path = f"{folder}/{name}"
    tf.saved_model.save(module, path, signatures=module.f)
    if lite:
        Path(path + ".tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(path).convert())
"""


def answer(name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a model gives."""
    if name == "tiny":
        return {"y": inputs["x"] @ WEIGHT}
    a, n = inputs["a"], inputs["n"]
    return {"total": a.sum(1) + n.astype(np.float32), "half": a * np.float32(0.5), "positive": n > 0}


def golden(name: str, batch: int) -> dict[str, np.ndarray]:
    """Inputs that are halves."""
    rng = np.random.default_rng(batch)
    if name == "tiny":
        return {"x": rng.integers(-8, 8, (batch, 4)).astype(np.float32) / 2}
    return {"a": rng.integers(-8, 8, (batch, 2)).astype(np.float32) / 2, "n": rng.integers(-3, 4, batch)}


def write_models(folder: Path, file_format: Format, worker: Worker | None = None) -> dict[str, Path]:
    """Write both models of a format, each with golden cases.

    Args:
        folder: Where to.
        file_format: The format.
        worker: A process for TensorFlow; by default one of its own.

    Returns:
        The path by model name.
    """
    writer = {Format.ONNX: _write_onnx, Format.TORCHSCRIPT: _write_torchscript, Format.EXPORTED: _write_exported}
    if file_format in writer:
        writer[file_format](folder)
    else:
        context = {"folder": str(folder), "weight": WEIGHT, "lite": file_format is Format.TFLITE}
        with worker or Worker() as process:
            process.call("builtins:exec", _TENSORFLOW, context)
    suffix = ".pt" if file_format is Format.TORCHSCRIPT else file_format.suffix
    paths = {name: folder / (name + suffix) for name in SIGNATURES}
    for name, path in paths.items():
        cases = [(inputs, answer(name, inputs)) for inputs in (golden(name, 1), golden(name, 3))]
        proof.attach(path, file_format, SIGNATURES[name], Proof({"name": "suite"}, (), {}), cases)
    return paths


def _write_onnx(folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}
    constants = {"w": WEIGHT, "c": np.float32(0.5), "zero": np.int64(0), "axis": np.array([1])}
    nodes = {
        "tiny": [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "pair": [
            helper.make_node("ReduceSum", ["a", "axis"], ["s"], keepdims=0),
            helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["s", "f"], ["total"]),
            helper.make_node("Mul", ["a", "c"], ["half"]),
            helper.make_node("Greater", ["n", "zero"], ["positive"]),
        ],
    }
    for name, signature in SIGNATURES.items():
        infos = [
            [helper.make_tensor_value_info(s.name, kinds[s.dtype], s.shape) for s in specs]
            for specs in (signature.inputs, signature.outputs)
        ]
        used = {i for node in nodes[name] for i in node.input}
        weights = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used]
        graph = helper.make_graph(nodes[name], name, *infos, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, folder / f"{name}.onnx")


def _torch_modules():
    import torch

    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.from_numpy(WEIGHT.copy()))

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": x @ self.w}

    class Pair(torch.nn.Module):
        def forward(self, a: torch.Tensor, n: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"total": a.sum(1) + n.to(torch.float32), "half": a * 0.5, "positive": n > 0}

    return {"tiny": Tiny().eval(), "pair": Pair().eval()}


def _write_torchscript(folder: Path) -> None:
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, module in _torch_modules().items():
            torch.jit.script(module).save(str(folder / f"{name}.pt"))


def _write_exported(folder: Path) -> None:
    import torch

    batch = torch.export.Dim("batch")
    for name, module in _torch_modules().items():
        example = tuple(torch.from_numpy(array) for array in golden(name, 3).values())
        program = torch.export.export(module, example, dynamic_shapes=tuple({0: batch} for _ in example))
        torch.export.save(program, str(folder / f"{name}.pt2"))


if __name__ == "__main__":
    write_models(Path(sys.argv[1]), Format.SAVEDMODEL)
