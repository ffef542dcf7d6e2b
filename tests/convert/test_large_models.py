"""A model whose weights exceed two gigabytes, the limit of one protobuf and of one flatbuffer."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import xport
from xport.errors import UnsupportedError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from measure import run

WIDTH, LAYERS = 8192, 9
WEIGHTS = LAYERS * WIDTH * WIDTH * 4


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Matrix products of one after the other, 2.4 GB, in a file of external data."""
    folder = tmp_path_factory.mktemp("large")
    matrix = np.random.default_rng(0).standard_normal((WIDTH, WIDTH), np.float32) / np.float32(WIDTH**0.5)
    with (folder / "weights.bin").open("wb") as file:
        for _ in range(LAYERS):
            file.write(matrix.data)
    tensors = [external(f"w{i}", i * matrix.nbytes, matrix.nbytes) for i in range(LAYERS)]
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(LAYERS)]
    ends = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["batch", WIDTH]) for i in (0, LAYERS)]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, folder / "large.onnx")
    return folder / "large.onnx"


def external(name: str, offset: int, length: int) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return tensor


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_savedmodel_is_written_in_bounded_memory_and_runs(large: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    command = [sys.executable, "-m", "xport", "convert", str(large), "--to", "savedmodel", "-o", str(saved)]
    cost = run([*command, "--no-verify"])
    assert cost.code == 0, cost.log
    assert cost.peak_bytes <= 2 * WEIGHTS + 1.2e9
    x = np.random.default_rng(1).standard_normal((3, WIDTH), np.float32)
    np.savez(tmp_path / "x.npz", x0=x)
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "f = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "np.save(sys.argv[3], next(iter(f(x0=tf.constant(np.load(sys.argv[2])['x0'])).values())))"
    )
    ran = run([sys.executable, "-c", code, str(saved), str(tmp_path / "x.npz"), str(tmp_path / "y.npy")])
    assert ran.code == 0, ran.log
    matrix = np.memmap(large.with_name("weights.bin"), np.float32, "r", 0, (WIDTH, WIDTH))
    expected = x
    for _ in range(LAYERS):
        expected = expected @ matrix
    assert np.abs(np.load(tmp_path / "y.npy") - expected).max() <= 1e-3 * np.abs(expected).max()


@pytest.mark.slow
def test_tflite_is_refused_before_the_weights_are_read(large: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"The weights take 2\.4 GB, and a TFLite file holds at most 2 GB"):
        xport.convert(large, to="tflite", output=tmp_path / "large.tflite")
    assert not (tmp_path / "large.tflite").exists()
