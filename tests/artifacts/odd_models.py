"""Models that several tests share: the same small computation in every format.

Names are such as exporters make (``input.1``, ``x:0``, ``1``), and their order is not the alphabet's.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xport.formats import Format
from xport.signature import Signature, TensorSpec
from xport.worker import Worker

WEIGHT = np.array([[1, 2], [3, 4], [5, 6]], np.float32)

# Run in a worker: TensorFlow is kept out of the tests' process as it is kept out of a caller's.
_TENSORFLOW_MODELS = """
import tensorflow as tf, numpy as np
from pathlib import Path
from tensorflow.core.protobuf import saved_model_pb2

S = tf.TensorSpec

class Odd(tf.Module):
    def __init__(self):
        self.w = tf.Variable(np.array([[1, 2], [3, 4], [5, 6]], np.float32))

odd = Odd()
odd.f = tf.function(
    lambda x_0, input_1, arg_1: {"z": tf.matmul(input_1, odd.w) * 2.0, "a": tf.reduce_sum(x_0) + arg_1},
    input_signature=[S([None, 3], name="x_0"), S([None, 3], name="input_1"), S([], name="arg_1")],
)
tf.saved_model.save(odd, folder + "/odd", signatures=odd.f)
proto = Path(folder, "odd", "saved_model.pb")
model = saved_model_pb2.SavedModel.FromString(proto.read_bytes())
inputs = model.meta_graphs[0].signature_def["serving_default"].inputs
for old, new in (("x_0", "x:0"), ("input_1", "input.1"), ("arg_1", "1")):
    inputs[new].CopyFrom(inputs[old])
    del inputs[old]
proto.write_bytes(model.SerializeToString())

types = tf.Module()
types.f = tf.function(
    lambda h, q, i, bf: {
        "h2": tf.cast(tf.cast(h, tf.float32) * 2.0, tf.float16), "q2": tf.logical_not(q),
        "i2": i + 1, "bf2": tf.cast(tf.cast(bf, tf.float32) * 2.0, tf.bfloat16),
    },
    input_signature=[S([None, 3], tf.float16, name="h"), S([], tf.bool, name="q"),
                     S([None], tf.int64, name="i"), S([None, 3], tf.bfloat16, name="bf")],
)
tf.saved_model.save(types, folder + "/types", signatures=types.f)
for name in ("odd", "types"):
    converted = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/{name}").convert()
    Path(folder, f"{name}.tflite").write_bytes(converted)
"""


class Odd:
    """The odd model: its signature, and what it computes."""

    signature = Signature(
        (
            TensorSpec("x:0", "float32", ("batch", 3)),
            TensorSpec("input.1", "float32", ("batch", 3)),
            TensorSpec("1", "float32", ()),
        ),
        (TensorSpec("z", "float32", ("batch", 2)), TensorSpec("a", "float32", ())),
    )

    @staticmethod
    def inputs(batch: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Inputs that are halves, so that every sum is exact."""
        rng = np.random.default_rng(seed)
        draw = rng.integers(-8, 8, (2, batch, 3)).astype(np.float32) / 2
        return {"x:0": draw[0], "input.1": draw[1], "1": np.array(0.5, np.float32)}

    @staticmethod
    def outputs(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the model gives for some inputs."""
        return {"z": inputs["input.1"] @ WEIGHT * np.float32(2), "a": np.sum(inputs["x:0"]) + inputs["1"]}


@pytest.fixture(scope="session")
def odd() -> type[Odd]:
    return Odd


@pytest.fixture(scope="session")
def tf_worker() -> Iterator[Worker]:
    """A worker in which TensorFlow is loaded once for all tests."""
    with Worker() as worker:
        yield worker


@pytest.fixture(scope="session")
def tensorflow_models(tf_worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with SavedModels ``odd`` and ``types`` and TFLite files of both."""
    folder = tmp_path_factory.mktemp("tensorflow")
    tf_worker.call("builtins:exec", _TENSORFLOW_MODELS, {"folder": str(folder)})
    return folder


@pytest.fixture(scope="session")
def other_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the odd model as ONNX, TorchScript and ``.pt2``."""
    folder = tmp_path_factory.mktemp("models")
    _write_onnx(folder / "odd.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        _write_torch(folder)
    return folder


@pytest.fixture
def odd_model(tmp_path: Path, tensorflow_models: Path, other_models: Path) -> Callable[[Format], Path]:
    """Copies the odd model of a format into the test's own folder and returns its path."""

    def copy(file_format: Format) -> Path:
        name = "odd" + (".pt" if file_format is Format.TORCHSCRIPT else file_format.suffix)
        from_tensorflow = file_format in (Format.SAVEDMODEL, Format.TFLITE)
        source = (tensorflow_models if from_tensorflow else other_models) / name
        target = tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
        return target

    return copy


def _write_onnx(path: Path) -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["input.1", "w"], ["m"]),
            helper.make_node("Mul", ["m", "two"], ["z"]),
            helper.make_node("ReduceSum", ["x:0"], ["s"], keepdims=0),
            helper.make_node("Add", ["s", "1"], ["a"]),
        ],
        "odd",
        [
            value("x:0", TensorProto.FLOAT, ["batch", 3]),
            value("input.1", TensorProto.FLOAT, ["batch", 3]),
            value("1", TensorProto.FLOAT, []),
        ],
        [value("z", TensorProto.FLOAT, ["batch", 2]), value("a", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(np.array(2, np.float32), "two")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path)


def _write_torch(folder: Path) -> None:
    """As TorchScript and ``.pt2``; PyTorch's argument names are identifiers."""
    import torch

    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.from_numpy(WEIGHT.copy()))

        def forward(self, x0: torch.Tensor, input1: torch.Tensor, one: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"z": input1 @ self.w * 2.0, "a": x0.sum() + one}

    module = Odd().eval()
    torch.jit.script(module).save(str(folder / "odd.pt"))
    batch = torch.export.Dim("batch")
    example = (torch.ones(2, 3), torch.ones(2, 3), torch.ones(()))
    program = torch.export.export(module, example, dynamic_shapes=({0: batch}, {0: batch}, None))
    torch.export.save(program, str(folder / "odd.pt2"))
