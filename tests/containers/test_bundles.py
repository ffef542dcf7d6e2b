"""Bundles, built and run for real: `make test-containers`."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import socket
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from xport import proof
from xport.convert.api import convert
from xport.formats import Format
from xport.serve.packaging.api import package
from xport.serve.packaging.lock import PYTHON_IMAGE

HERE = Path(__file__).parent


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


machine_module = load(HERE / "machine.py")
trouble = machine_module.why_not()
if os.environ.get("XPORT_TEST_CONTAINERS") != "1":
    pytest.skip("containers take minutes: make test-containers", allow_module_level=True)
if trouble:
    pytest.skip(trouble, allow_module_level=True)
pytestmark = pytest.mark.timeout(3000)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    made = machine_module.Machine(tmp_path_factory.mktemp("containers"))
    made.base(PYTHON_IMAGE)
    if trouble := made.why_not_run(PYTHON_IMAGE):
        pytest.skip(trouble)
    yield made
    made("podman", "--runtime", "runc", "rm", "-a", "-f", check=False)
    made("podman", "rmi", "-a", "-f", check=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small proven model, and its golden cases."""
    folder = tmp_path_factory.mktemp("model")
    source = load(HERE.parent / "convert" / "tiny_onnx.py").save_tiny(folder / "source.onnx")
    path = convert(source, "onnx", folder / "tiny.onnx").path
    return path, proof.read(path, Format.ONNX)[2]


class Container:
    """A container that runs."""

    def __init__(self, machine, image, *, inside, tmpfs):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.machine, self.name = machine, image.rpartition("/")[2]
        machine.run(image, self.name, port=self.port, inside=inside, tmpfs=tmpfs)

    def execute(self, *command, check=True):
        return self.machine("podman", "--runtime", "runc", "exec", self.name, *command, check=check)

    def ask(self, path, body=None, **headers):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers)
        with opener.open(request, timeout=30) as answer:
            return answer.read()

    def wait_healthy(self, seconds=180):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            said = self.machine("podman", "--runtime", "runc", "healthcheck", "run", self.name, check=False)
            if said == "":
                state = self.machine("podman", "inspect", "-f", "{{.State.Health.Status}}", self.name, check=False)
                if state == "healthy":
                    return
            time.sleep(1)
        raise AssertionError(self.machine("podman", "logs", self.name, check=False)[-3000:])

    def check_locked_down(self):
        assert self.execute("id", "-u") == "65532"
        assert "Read-only" in self.execute("sh", "-c", "touch /bundle/x 2>&1 || true")

    def stop(self):
        """Stop it kindly; returns the exit code."""
        self.machine("podman", "--runtime", "runc", "stop", "-t", "30", self.name)
        return int(self.machine("podman", "inspect", "-f", "{{.State.ExitCode}}", self.name))


@pytest.fixture
def start(machine):
    started = []

    def start(image, **settings):
        started.append(Container(machine, image, **settings))
        return started[-1]

    yield start
    for container in started:
        machine.remove(container.name)


@pytest.mark.slow(turn=0, turns=3)
def test_tf_serving(machine, model, start, tmp_path):
    """The image of TF Serving is not to be had here: the strict stand-in takes its place, the rest is real."""
    context = tmp_path / "base"
    context.mkdir()
    standin = HERE.parent / "deploy" / "standins" / "tensorflow_model_server.py"
    text = f"#!/usr/bin/python3\n{standin.read_text()}"
    (context / "tensorflow_model_server").write_text(text)
    (context / "tensorflow_model_server").chmod(0o755)
    pip = "RUN python3 -m pip install --break-system-packages"
    (context / "Dockerfile").write_text(
        f"FROM {PYTHON_IMAGE}\n{pip} protobuf && {pip[4:]} --no-deps tensorflow-serving-api\n"
        "COPY tensorflow_model_server /usr/bin/\n"
    )
    base = "localhost/standin-tf-serving:latest"
    machine.build(context, base)
    path, _ = model
    bundle = package([path], "tf-serving", tmp_path / "bundle", options={"base_image": base})
    machine.build(bundle.path, "localhost/xport-tf-serving")
    container = start("localhost/xport-tf-serving", inside=8501, tmpfs="/tmp")
    container.wait_healthy()
    container.check_locked_down()
    status = json.loads(container.ask("/v1/models/tiny"))
    assert status["model_version_status"][0]["state"] == "AVAILABLE"


@pytest.mark.slow(turn=1, turns=3)
def test_torchserve(machine, model, start, tmp_path):
    path, cases = model
    bundle = package([path], "torchserve", tmp_path / "bundle")
    machine.build(bundle.path, "localhost/xport-torchserve")
    container = start("localhost/xport-torchserve", inside=8080, tmpfs="/run/xport:exec,mode=1777")
    container.wait_healthy()
    container.check_locked_down()
    keys = json.loads(container.execute("cat", "/run/xport/key_file.json"))
    for inputs, outputs in cases:
        stream = io.BytesIO()
        np.save(stream, inputs["x"])
        headers = {"Authorization": f"Bearer {keys['inference']['key']}", "Content-Type": "application/octet-stream"}
        answer = container.ask("/predictions/tiny", stream.getvalue(), **headers)
        np.testing.assert_allclose(np.load(io.BytesIO(answer)), outputs["y"], rtol=1e-5, atol=1e-6)
    container.stop()


@pytest.mark.slow(turn=2, turns=3)
def test_embedded(machine, model, start, tmp_path):
    path, cases = model
    bundle = package([path], "embedded", tmp_path / "bundle")
    machine.build(bundle.path, "localhost/xport-embedded")
    container = start("localhost/xport-embedded", inside=8080, tmpfs="/tmp")
    container.wait_healthy()
    container.check_locked_down()
    for inputs, outputs in cases:
        body = json.dumps({"instances": inputs["x"].tolist()}).encode()
        answer = json.loads(container.ask("/v1/models/tiny:predict", body))
        np.testing.assert_allclose(answer["predictions"], outputs["y"], rtol=1e-5, atol=1e-6)
    assert container.stop() in (0, 143)
