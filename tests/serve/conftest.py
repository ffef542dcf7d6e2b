"""Small ONNX models and a store of them in this process."""

import asyncio
import contextlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xport import proof
from xport.artifact import Proof
from xport.formats import Format
from xport.serve.embedded.catalogue import parse_model
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.store import Store
from xport.signature import Signature, TensorSpec

_TESTS = Path(__file__).parent.parent


def _load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_protocol = _load("serve_protocol_conftest", _TESTS / "protocol" / "conftest.py")


@pytest.fixture(scope="session")
def running():
    """Starts ``xport serve`` with arguments; a context manager."""
    return _protocol.running


@pytest.fixture
def save_scaled(save_scaled_once):
    return save_scaled_once


@pytest.fixture(scope="session")
def save_scaled_once():
    """Writes ``y = x * scale`` for x of two features, with golden cases."""

    def save(path, *, scale=2.0, golden=True, wrong=False, batch="batch"):
        path.parent.mkdir(parents=True, exist_ok=True)
        graph = helper.make_graph(
            [helper.make_node("Mul", ["x", "s"], ["y"])],
            "scaled",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 2])],
            [numpy_helper.from_array(np.array(scale, np.float32), "s")],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        if golden:
            signature = Signature((TensorSpec("x", "float32", (batch, 2)),), (TensorSpec("y", "float32", (batch, 2)),))
            x = np.array([[1, -2]], np.float32)
            expected = x * np.float32(scale) + np.float32(wrong)
            proof.attach(path, Format.ONNX, signature, Proof({"name": "net"}, (), {}), [({"x": x}, {"y": expected})])
        return path

    return save


@pytest.fixture
def save_nodes():
    """Writes an ONNX model of given nodes from x float32[batch,2] to y."""

    def save(path, nodes, *, output=("batch", 2), constants=None):
        weights = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
            weights,
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return save


@pytest.fixture
def with_store():
    """Runs ``scenario(store)`` against a loaded store."""

    def run(models, scenario, **settings):
        async def main():
            store = Store([parse_model(str(model)) for model in models], ServerOptions(**settings))
            await store.load()
            try:
                async with asyncio.timeout(120):
                    return await scenario(store)
            finally:
                with contextlib.suppress(Exception):
                    await store.unload(0)

        return asyncio.run(main())

    return run
