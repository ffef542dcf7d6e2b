"""In what precision a model is, and what it means, on real files."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xport.convert.onnx_signature import read_signature
from xport.convert.source import open_source
from xport.validate.precision import FLOAT, ROUNDING, Precision, precision_of

_spec = importlib.util.spec_from_file_location("reduced_models", Path(__file__).parent / "reduced_models.py")
reduced = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reduced)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reduced")
    net = reduced.save_convnet(folder / "net.onnx")
    reduced.save_narrow(net, folder / "float16.onnx")
    reduced.save_narrow(net, folder / "bfloat16.onnx", TensorProto.BFLOAT16)
    reduced.save_qdq(net, folder / "qdq.onnx")
    reduced.save_qdq(net, folder / "collapsed.onnx", scale=60.0)
    reduced.save_dynamic(net, folder / "dynamic.onnx")
    return folder


@pytest.mark.parametrize(
    ("name", "precision", "arithmetic"),
    [
        ("net", "float32", FLOAT),
        ("float16", "float16", FLOAT),
        ("bfloat16", "bfloat16", FLOAT),
        ("qdq", "int8", ROUNDING),
        ("dynamic", "int8", ROUNDING),
    ],
)
def test_onnx_files_tell_their_precision(folder, name, precision, arithmetic):
    assert precision_of(open_source(folder / f"{name}.onnx")) == Precision(precision, arithmetic)


def test_images_in_bytes_and_whole_numbers_are_no_quantization(tmp_path):
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "w"], ["y"]),
        helper.make_node("Cast", ["y"], ["kinds"], to=TensorProto.INT8),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", 4])],
        [helper.make_tensor_value_info(n, t, ["batch", 4]) for n, t in (("y", 1), ("kinds", TensorProto.INT8))],
        [onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m.onnx")
    assert precision_of(open_source(tmp_path / "m.onnx")) == Precision()


def test_only_what_is_coarser_reduces():
    assert Precision("float16").reduces(Precision())
    assert Precision("int8").reduces(Precision("float16"))
    assert not Precision().reduces(Precision("float16"))
    assert not Precision("int8").reduces(Precision("int8"))


def meaning(path, arithmetic):
    from xport.validate.torch_precision import meaning_and_rounding

    x = np.random.default_rng(3).standard_normal((16, 1, 8, 8)).astype(np.float32)
    (found,) = meaning_and_rounding(open_source(path), read_signature(path), arithmetic, [{"image": x}])
    return [side["logits"] for side in found]


def relative(found, wanted):
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    return np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2))


@pytest.mark.parametrize(
    ("name", "arithmetic", "loss", "rounding"),
    [
        ("float16", FLOAT, (5e-5, 1e-3), (1e-4, 2e-3)),
        ("bfloat16", FLOAT, (4e-4, 1e-2), (1e-3, 2e-2)),
        ("qdq", ROUNDING, (3e-3, 6e-2), (3e-3, 5e-2)),
        ("dynamic", ROUNDING, (2e-3, 6e-2), (1e-3, 5e-2)),
        ("collapsed", ROUNDING, (0.4, 10), (0.1, 10)),
    ],
)
def test_what_a_model_means_and_how_its_arithmetic_rounds(folder, name, arithmetic, loss, rounding):
    pytest.importorskip("torch")
    (true, _), (meant, rounded) = meaning(folder / "net.onnx", FLOAT), meaning(folder / f"{name}.onnx", arithmetic)
    assert true.dtype == meant.dtype == np.float64
    assert loss[0] < relative(meant, true) < loss[1]
    assert rounding[0] < relative(rounded, meant) < rounding[1]


def test_modules_tell_their_precision():
    torch = pytest.importorskip("torch")
    from xport.validate.torch_precision import module_precision

    assert module_precision(torch.nn.Linear(3, 2)) == Precision()
    assert module_precision(torch.nn.Linear(3, 2).half()) == Precision("float16")
    assert module_precision(torch.nn.Linear(3, 2).bfloat16()) == Precision("bfloat16")
    script = torch.jit.script(torch.nn.Linear(3, 2).half())
    assert module_precision(script) == Precision("float16")
