"""Proven models and a bundle, made once a run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from xport.convert.api import convert


@pytest.fixture(scope="session")
def proven(tmp_path_factory, save_tiny):
    """The same small model, proven, by format; made when first asked for."""
    folder = tmp_path_factory.mktemp("proven")
    source = save_tiny(folder / "source.onnx")
    made: dict[str, Path] = {}

    def proven(name: str) -> Path:
        if name not in made:
            suffix = {"onnx": ".onnx", "savedmodel": "", "torchscript": ".pt", "exported": ".pt2", "tflite": ".tflite"}
            made[name] = folder / f"tiny_{name}{suffix[name]}"
            convert(source, name, made[name])
        return made[name]

    return proven


@pytest.fixture(scope="session")
def tf_bundle(proven, tmp_path_factory):
    """A bundle for TF Serving. Not to be changed."""
    from xport.serve.packaging.api import package

    path = tmp_path_factory.mktemp("bundle") / "tf"
    return package([f"tiny={proven('savedmodel')}"], "tf-serving", path)


@pytest.fixture
def free_ports():
    """Ports that nobody listens on."""

    def free_ports(count: int) -> list[int]:
        sockets = [socket.socket() for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        return ports

    return free_ports
