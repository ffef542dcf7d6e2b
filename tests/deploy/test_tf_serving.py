"""TF Serving: the files by the official protos, the launch against strict stand-ins."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path, PurePosixPath

import pytest
import yaml
from google.protobuf import text_format

from xport.errors import MissingRuntimeError, ParityError, UsageError, XportError
from xport.serve.engines import launch
from xport.serve.launching.process import get_json
from xport.serve.packaging.api import package
from xport.serve.packaging.tf_serving_config import batching_config, models_config, monitoring_config

STANDINS = Path(__file__).parent / "standins"
model_server_config = pytest.importorskip(
    "tensorflow_serving.config.model_server_config_pb2",
    reason="tensorflow-serving-api is not installed: pip install --no-deps tensorflow-serving-api",
)


def standin(name):
    spec = importlib.util.spec_from_file_location(name, STANDINS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def path_with(tmp_path, monkeypatch):
    """A PATH that holds the named stand-ins and nothing else."""

    def path_with(*names: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in names:
            program = folder / name
            target = STANDINS / ("docker.py" if name in ("docker", "podman") else f"{name}.py")
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{target}" "$@"\n')
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setenv("STANDIN_RECORD", str(tmp_path / "record.json"))
        monkeypatch.setenv("STANDIN_CALLS", str(tmp_path / "calls"))
        monkeypatch.setenv("STANDIN_TMP", str(tmp_path))
        return tmp_path / "record.json"

    return path_with


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False


def gone(*pids: int) -> bool:
    end = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_the_model_configuration_is_what_the_official_proto_reads():
    text = models_config({"tiny": [1], "odd.name-2": [3, 12]}, PurePosixPath("/bundle/models"))
    first, second = text_format.Parse(text, model_server_config.ModelServerConfig()).model_config_list.config
    assert (first.name, first.base_path, first.model_platform) == ("tiny", "/bundle/models/tiny", "tensorflow")
    assert not first.HasField("model_version_policy")
    assert list(second.model_version_policy.specific.versions) == [3, 12]


@pytest.mark.parametrize("odd", ['quo"te', "back\\slash", "snow☃man", "new\nline"])
def test_odd_folders_survive_the_text_format(odd):
    text = models_config({"tiny": [1]}, PurePosixPath("/srv") / odd)
    (model,) = text_format.Parse(text, model_server_config.ModelServerConfig()).model_config_list.config
    assert model.base_path == f"/srv/{odd}/tiny"


def test_batching_and_monitoring_are_what_the_server_reads():
    batching, monitoring = standin("tensorflow_model_server").messages()
    found = text_format.Parse(batching_config(), batching())
    assert found.max_batch_size.value == 32
    assert found.batch_timeout_micros.value == 2000
    assert found.max_enqueued_batches.value > 0
    metrics = text_format.Parse(monitoring_config(), monitoring()).prometheus_config
    assert (metrics.enable, metrics.path) == (True, "/monitoring/prometheus/metrics")


def test_a_bundle_holds_numbered_models_and_warm_up_requests(tf_bundle):
    version = tf_bundle.path / "models/tiny/1"
    assert (version / "saved_model.pb").is_file()
    assert (version / "assets.extra/tf_serving_warmup_requests").stat().st_size > 0
    config = (tf_bundle.path / "config/models.config").read_text()
    (model,) = text_format.Parse(config, model_server_config.ModelServerConfig()).model_config_list.config
    assert model.base_path == "/bundle/models/tiny"


def test_the_container_is_locked_down(tf_bundle):
    (service,) = yaml.safe_load((tf_bundle.path / "compose.yaml").read_text())["services"].values()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    lines = (tf_bundle.path / "Dockerfile").read_text().splitlines()
    words = {line.split()[0]: line.partition(" ")[2] for line in lines if line and not line.startswith("#")}
    assert set(words) == {"FROM", "COPY", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}
    assert words["USER"] != "root"
    assert "--enable_batching=true" in json.loads(words["ENTRYPOINT"])
    assert "# syntax" not in "\n".join(lines)


def test_one_model_that_cannot_be_joined_switches_batching_off(proven, tf_bundle, save_tiny, tmp_path):
    from xport.convert.api import convert

    fixed = convert(save_tiny(tmp_path / "m.onnx", batch=2), "savedmodel", tmp_path / "fixed").path
    bundle = package([f"tiny={proven('savedmodel')}", fixed], "tf-serving", tmp_path / "out")
    assert [entry["batching"] for entry in bundle.models] == [True, False]
    assert "enable_batching" not in (bundle.path / "Dockerfile").read_text()
    assert "`fixed`: not every input" in (bundle.path / "README.md").read_text()


def test_a_refused_conversion_is_the_error(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("NoSuchOperator", ["x"], ["y"], domain="com.example")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "odd.onnx")
    with pytest.raises(XportError, match="NoSuchOperator"):
        package([tmp_path / "odd.onnx"], "tf-serving", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["odd.onnx"]


def test_launch_waits_until_the_model_is_there_and_leaves_nothing(tf_bundle, path_with, free_ports):
    record = path_with("tensorflow_model_server")
    rest, grpc = free_ports(2)
    with launch("tf-serving", [tf_bundle.path], rest_port=rest, grpc_port=grpc) as server:
        status, body = get_json(f"{server.url}/v1/models/tiny")
        assert (status, body["model_version_status"][0]["state"]) == (200, "AVAILABLE")
        assert (server.names, server.grpc) == (["tiny"], f"127.0.0.1:{grpc}")
        assert any("every one" in note for note in server.notes)
        work = server.log.parent
        seen = json.loads(record.read_text())
    assert gone(seen["pid"], seen["child"]), "the server's own children end too"
    assert not work.exists()
    flags = dict(word.removeprefix("--").split("=", 1) for word in seen["argv"])
    assert (flags["rest_api_port"], flags["port"]) == (str(rest), str(grpc))
    assert flags["enable_batching"] == "true"


def test_launch_in_a_container_publishes_on_loopback_only(tf_bundle, path_with, free_ports, tmp_path):
    record = path_with("docker")
    rest, grpc = free_ports(2)
    with launch("tf-serving", [tf_bundle.path], rest_port=rest, grpc_port=grpc) as server:
        assert get_json(f"{server.url}/v1/models/tiny")[0] == 200
        assert any("loopback" in note for note in server.notes)
    assert gone(json.loads(record.read_text())["pid"])
    calls = (tmp_path / "calls").read_text().splitlines()
    name = calls[1].split("--name ")[1].split()[0]
    assert [calls[0], calls[2]] == ["info", f"rm -f {name}"]


def test_launch_converts_what_is_no_saved_model(proven, path_with, free_ports):
    path_with("tensorflow_model_server")
    rest, grpc = free_ports(2)
    with launch("tf-serving", [f"net={proven('onnx')}"], rest_port=rest, grpc_port=grpc) as server:
        assert get_json(f"{server.url}/v1/models/net")[0] == 200


def test_nothing_to_run_it_with_says_what_to_install(tf_bundle, path_with):
    path_with()
    with pytest.raises(MissingRuntimeError, match=r"not on the PATH; docker: not installed; podman: not") as caught:
        launch("tf-serving", [tf_bundle.path])
    assert "apt-get install podman" in caught.value.fix


def test_a_docker_without_its_daemon_is_told(tf_bundle, path_with, monkeypatch):
    path_with("docker")
    monkeypatch.setenv("STANDIN_DAEMON", "off")
    with pytest.raises(MissingRuntimeError, match="docker: Cannot connect to the Docker daemon"):
        launch("tf-serving", [tf_bundle.path])


def test_a_port_in_use_is_told_before_anything_starts(tf_bundle, path_with, free_ports):
    record = path_with("tensorflow_model_server")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} .rest_port. cannot be used") as caught:
            launch("tf-serving", [tf_bundle.path], rest_port=port, grpc_port=free_ports(1)[0])
    assert caught.value.exit_code == 2
    assert not record.exists()
    with pytest.raises(UsageError, match="both 8501"):
        launch("tf-serving", [tf_bundle.path], rest_port=8501, grpc_port=8501)


@pytest.mark.parametrize(
    ("mode", "words"),
    [("die", "told to die"), ("end", "gave up version 1 of tiny"), ("hang", "not ready within 1.5 s")],
)
def test_a_server_that_does_not_come_up_is_told_and_ended(mode, words, tf_bundle, path_with, free_ports, monkeypatch):
    record = path_with("tensorflow_model_server")
    monkeypatch.setenv("STANDIN_MODE", mode)
    rest, grpc = free_ports(2)
    timeout = 1.5 if mode == "hang" else 30
    with pytest.raises(XportError, match=words):
        launch("tf-serving", [tf_bundle.path], rest_port=rest, grpc_port=grpc, timeout=timeout)
    seen = json.loads(record.read_text())
    assert gone(seen["pid"], seen["child"])


def test_a_server_that_ignores_sigterm_is_killed(tf_bundle, path_with, free_ports, monkeypatch):
    record = path_with("tensorflow_model_server")
    monkeypatch.setenv("STANDIN_MODE", "stubborn")
    rest, grpc = free_ports(2)
    server = launch("tf-serving", [tf_bundle.path], rest_port=rest, grpc_port=grpc)
    server._grace = 0.3
    server.stop()
    assert server.process.returncode == -signal.SIGKILL
    assert gone(json.loads(record.read_text())["pid"])
    server.stop()


def test_a_server_that_ends_later_is_told(tf_bundle, path_with, free_ports):
    path_with("tensorflow_model_server")
    rest, grpc = free_ports(2)
    with launch("tf-serving", [tf_bundle.path], rest_port=rest, grpc_port=grpc) as server:
        server.process.terminate()
        with pytest.raises(XportError, match="SIGTERM"):
            server.wait()


def test_a_changed_bundle_is_not_served(tf_bundle, path_with, tmp_path):
    import shutil

    path_with("tensorflow_model_server")
    shutil.copytree(tf_bundle.path, tmp_path / "copy")
    (tmp_path / "copy/models/tiny/1/saved_model.pb").write_bytes(b"other")
    with pytest.raises(ParityError, match="changed after it was packaged"):
        launch("tf-serving", [tmp_path / "copy"])


def test_a_bundle_for_another_engine_is_refused(tf_bundle):
    with pytest.raises(UsageError, match="bundle for tf-serving, not for torchserve"):
        launch("torchserve", [tf_bundle.path])


def test_the_command_line_packages(proven, tmp_path):
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "xport", "package", str(proven("savedmodel")), "--engine", "tf-serving"]
    done = subprocess.run([*command, "-o", str(out), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["engine"] == "tf-serving"
    again = subprocess.run([*command, "-o", str(out)], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_every_engine_has_its_modules():
    from xport.serve import engines

    for engine in engines.ENGINES.values():
        for function in filter(None, (engine.writer, engine.launcher)):
            assert callable(engines.resolve(function)), function


def test_templates_are_shipped():
    root = Path(__file__).parent.parent.parent
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert data["xport.serve.packaging"] == ["templates/*.j2"]


def test_the_command_starts_the_engine_and_ends_it_on_sigterm(tf_bundle, path_with, free_ports):
    record = path_with("tensorflow_model_server")
    http, grpc = free_ports(2)
    command = [sys.executable, "-m", "xport", "serve", str(tf_bundle.path), "--engine", "tf-serving", "--json"]
    ports = ["--port", str(http), "--grpc-port", str(grpc)]
    process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    while (line := process.stdout.readline()) and line.rstrip() != "}":
        lines.append(line)
    found = json.loads("".join(lines) + "}")
    assert (found["engine"], found["models"]) == ("tf-serving", ["tiny"])
    _, status = get_json(f"{found['url']}/v1/models/tiny")
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    server = json.loads(record.read_text())["pid"]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert gone(server)


def test_an_option_of_the_embedded_server_is_not_ignored_by_another(tf_bundle):
    command = [sys.executable, "-m", "xport", "serve", str(tf_bundle.path), "--engine", "tf-serving", "--workers", "2"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert "--workers" in found.stderr
    assert "Traceback" not in found.stderr
