"""A small proven model, versions of it that were tampered with, and servers of all of them."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xport.convert.api import convert

_TESTS = Path(__file__).parent.parent


def _load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_protocol = _load("probing_protocol_conftest", _TESTS / "protocol" / "conftest.py")
_standins = _load("probing_standins", Path(__file__).parent / "standins.py")

RNG = np.random.default_rng(7)
W = RNG.standard_normal((8, 16)).astype(np.float32)
V = RNG.standard_normal((16, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def without_float64(request, monkeypatch):
    """Saves the time of importing PyTorch in every comparison, except where the floor matters."""
    if "with_float64" not in request.fixturenames:
        from xport.validate.matrix import answers

        monkeypatch.setattr(answers, "reference64", lambda *_, **__: None)


@pytest.fixture
def with_float64():
    """The reference runs in float64, so that the floor judges."""


@pytest.fixture(scope="session")
def standins():
    return _standins


@pytest.fixture(scope="session")
def running():
    """Starts ``xport serve`` with arguments; a context manager."""
    return _protocol.running


def save_net(path, *, weight=V, swapped=False):
    """``y = relu(x W) V, z = tanh(y)`` for x of eight features."""
    y, z = ("z", "y") if swapped else ("y", "z")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "W"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "V"], [y]),
            helper.make_node("Tanh", [y], [z]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("y", "z")],
        [numpy_helper.from_array(W, "W"), numpy_helper.from_array(np.ascontiguousarray(weight), "V")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def nets(tmp_path_factory):
    """By name: the model with its proof, one with a weight changed by a hundredth, one with its outputs swapped."""
    folder = tmp_path_factory.mktemp("nets")
    changed = V.copy()
    changed[3, 1] *= 1.01
    return {
        "net": convert(save_net(folder / "source.onnx"), "onnx", folder / "net.onnx").path,
        "tampered": save_net(folder / "tampered.onnx", weight=changed),
        "swapped": save_net(folder / "swapped.onnx", swapped=True),
    }


@pytest.fixture(scope="session")
def versions(nets, tmp_path_factory):
    """A folder with the model as version 1 and the tampered one as version 2."""
    folder = tmp_path_factory.mktemp("versions") / "many"
    for number, name in (("1", "net"), ("2", "tampered")):
        (folder / number).mkdir(parents=True)
        (folder / number / "model.onnx").write_bytes(nets[name].read_bytes())
    return folder


@pytest.fixture(scope="session")
def server(nets, running):
    """One server of all models."""
    with running(*[f"{name}={path}" for name, path in nets.items()]) as started:
        yield started


@pytest.fixture(scope="session")
def numpy_net():
    """The model in numpy, as the stand-ins run it."""

    def run(inputs):
        y = np.maximum(inputs["x"] @ W, 0) @ V
        return {"y": y, "z": np.tanh(y)}

    return run
