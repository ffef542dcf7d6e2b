"""TorchServe: the archive, and the real server where Java and torchserve are here."""

from __future__ import annotations

import http.client
import io
import json
import os
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import yaml

from xport import proof
from xport.errors import MissingRuntimeError, UsageError, XportError
from xport.formats import Format
from xport.serve.engines import launch
from xport.serve.launching import torchserve as launching
from xport.serve.packaging.api import package


def missing() -> str:
    try:
        launching.find_program()
    except MissingRuntimeError as error:
        return str(error)
    return ""


needs_torchserve = pytest.mark.skipif(bool(missing()), reason=missing())
PORTS = ("rest_port", "management_port", "metrics_port", "grpc_port", "grpc_management_port")


@pytest.fixture(scope="module")
def bundle(proven, tmp_path_factory):
    """One model in every format that TorchServe takes. Not to be changed."""
    models = [f"{name}={proven(name)}" for name in ("onnx", "torchscript", "exported")]
    return package(models, "torchserve", tmp_path_factory.mktemp("torchserve") / "bundle")


def test_the_archive_is_what_the_archiver_would_write(bundle):
    for entry in bundle.models:
        assert entry["path"] == f"models/{entry['name']}.mar"
        with zipfile.ZipFile(bundle.path / entry["path"]) as archive:
            assert archive.testzip() is None
            manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
            members = set(archive.namelist())
            settings = yaml.safe_load(archive.read("model-config.yaml"))
        model = manifest["model"]
        assert (manifest["runtime"], model["modelName"], model["modelVersion"]) == ("python", entry["name"], "1.0")
        assert {model["serializedFile"], model["handler"], model["configFile"]} <= members
        assert (settings["minWorkers"], settings["batchSize"], settings["maxBatchDelay"]) == (1, 16, 2)


def test_the_same_model_gives_the_same_archive(bundle, proven, tmp_path):
    again = package([f"onnx={proven('onnx')}"], "torchserve", tmp_path / "again")
    name = "models/onnx.mar"
    assert (bundle.path / name).read_bytes() == (again.path / name).read_bytes()


def test_a_model_that_cannot_be_joined_gets_batches_of_one(save_tiny, tmp_path):
    from xport.convert.api import convert

    fixed = convert(save_tiny(tmp_path / "m.onnx", batch=2), "onnx", tmp_path / "fixed.onnx").path
    made = package([fixed], "torchserve", tmp_path / "out")
    with zipfile.ZipFile(made.path / "models/fixed.mar") as archive:
        assert yaml.safe_load(archive.read("model-config.yaml"))["batchSize"] == 1
        assert json.loads(archive.read("xport-model.json"))["batching"] is False


def test_two_versions_of_a_model_are_refused(proven, tmp_path):
    for number in ("1", "2"):
        (tmp_path / "net").mkdir(exist_ok=True)
        os.symlink(proven("savedmodel"), tmp_path / "net" / number)
    with pytest.raises(UsageError, match="net has several versions"):
        package([tmp_path / "net"], "torchserve", tmp_path / "out")


def test_the_configuration_serves_only_what_is_in_the_bundle(bundle):
    lines = (bundle.path / "config.properties").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert values["load_models"] == "onnx.mar,torchscript.mar,exported.mar"
    assert values["allowed_urls"] == "file:///dev/null"
    assert (values["enable_model_api"], values["disable_token_authorization"]) == ("false", "false")
    assert values["management_address"].startswith("http://127.0.0.1:")
    assert values["metrics_mode"] == "prometheus"


def test_the_lock_is_exact(bundle):
    lines = (bundle.path / "requirements.lock").read_text().splitlines()
    assert all(line.count("==") == 1 and "+" not in line for line in lines)
    assert {"torch", "torchserve", "pyyaml", "onnxruntime", "numpy"} <= {line.partition("==")[0] for line in lines}


def test_without_java_it_says_what_to_install(bundle, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(MissingRuntimeError, match="/nowhere/bin/java is not there") as caught:
        launch("torchserve", [bundle.path])
    assert "openjdk-17-jre-headless" in caught.value.fix


def test_without_torchserve_it_says_what_to_install(bundle, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingRuntimeError, match="torchserve is not installed") as caught:
        launch("torchserve", [bundle.path])
    assert "torchserve==0.12.0" in caught.value.fix


class Client:
    """Asks a server of this machine."""

    def __init__(self, server):
        self.server = server
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __call__(self, path, body=None, *, kind="application/json", token=None):
        headers = {"Content-Type": kind, "Authorization": f"Bearer {token or self.server.details['token']}"}
        request = urllib.request.Request(self.server.url + path, data=body, headers=headers)
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.slow
@needs_torchserve
def test_the_real_server_gives_the_golden_outputs_in_every_form(bundle, proven, free_ports):
    cases = proof.read(proven("onnx"), Format.ONNX)[2]
    with launch("torchserve", [bundle.path], **dict(zip(PORTS, free_ports(5), strict=True))) as server:
        ask = Client(server)
        for model in server.names:
            for inputs, outputs in cases:
                status, kind, body = ask(f"/predictions/{model}", npy(inputs["x"]), kind="application/octet-stream")
                assert (status, kind) == (200, "application/x-npy")
                np.testing.assert_allclose(np.load(io.BytesIO(body)), outputs["y"], rtol=1e-5, atol=1e-6)
            rows = json.dumps({"instances": cases[0][0]["x"].tolist()}).encode()
            status, kind, body = ask(f"/v1/models/{model}:predict", rows)
            assert (status, kind) == (200, "application/json")
            np.testing.assert_allclose(json.loads(body)["predictions"], cases[0][1]["y"], rtol=1e-5, atol=1e-6)
            tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
            status, _, body = ask(f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode())
            assert (status, json.loads(body)["outputs"][0]["shape"]) == (200, [1, 3])
        check_refusals(ask)
        check_batches(ask)
        processes = psutil.Process(server.process.pid).children(recursive=True)
        work = server.log.parent
    assert len(processes) >= 4, "Java and a worker a model"
    assert not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not work.exists()


def check_refusals(ask):
    for body, words in ((b"{", "JSON Parse error"), (b'{"instances": [[1, 2]]}', "'x' has shape [1, 2]")):
        status, kind, answer = ask("/predictions/onnx", body)
        assert (status, kind) == (400, "application/json")
        assert words in json.loads(answer)["error"]
    assert ask("/predictions/nothing", b"{}")[0] == 404
    assert ask("/predictions/onnx", b"{}", token="wrong")[0] == 400
    connection = http.client.HTTPConnection(ask.server.url.removeprefix("http://"), timeout=60)
    headers = {"Content-Length": str(65 * 2**20), "Authorization": f"Bearer {ask.server.details['token']}"}
    connection.request("POST", "/predictions/onnx", headers=headers)  # refused before the body is sent
    assert connection.getresponse().status == 413
    connection.close()


def check_batches(ask):
    """Many clients at once, good and bad: each gets its own answer."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((1 + i % 3, 4)).astype(np.float32) for i in range(24)]
    alone = [np.load(io.BytesIO(ask("/predictions/onnx", npy(a), kind="application/octet-stream")[2])) for a in arrays]
    bodies = [npy(a) if i % 4 else npy(a.astype(np.float64)) for i, a in enumerate(arrays)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda b: ask("/predictions/onnx", b, kind="application/octet-stream"), bodies))
    for i, (status, _, body) in enumerate(answers):
        assert status == (200 if i % 4 else 400)
        if status == 200:
            np.testing.assert_allclose(np.load(io.BytesIO(body)), alone[i], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@needs_torchserve
def test_a_worker_that_cannot_load_its_model_is_told(save_tiny, free_ports, tmp_path):
    """The archive is broken on purpose; nothing stays."""
    made = package([save_tiny(tmp_path / "m.onnx")], "torchserve", tmp_path / "out", allow_unverified=True)
    manifest = json.loads((made.path / "xport-bundle.json").read_text())
    archive = made.path / "models/m.mar"
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, data in members.items():
            new.writestr(name, b"broken" if name == "model.onnx" else data)
    import hashlib

    manifest["files"] = {"models/m.mar": hashlib.sha256(archive.read_bytes()).hexdigest()}
    (made.path / "xport-bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(XportError, match="worker died while it loaded"):
        launch("torchserve", [made.path], **dict(zip(PORTS, free_ports(5), strict=True)))
    left = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert not left
