"""The embedded server beside the servers of others: one network, one runtime, the same clients, in one run.

python benchmarks/serving_field.py                    all of them
python benchmarks/serving_field.py --servers xport kserve
python benchmarks/serving_field.py --json FILE        the figures for machines, too

Every server runs the same tiny perceptron by ONNX Runtime on one thread and speaks its own JSON over REST, so that
the server is what is measured. All are started first; then they take turns, round after round, so that what else the
machine does strikes all alike. Each server of others has an environment of its own under ``build/field``, made from the
package registry; one that cannot be had or started is named with the reason and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from field_engines import AbsentError, Engine, environment, python_of
from measure import machine
from serving import figures, write_mlp

PEERS = Path(__file__).parent / "serving_peers"
CLIENTS = (1, 16)
PATIENCE = 120.0
"""Seconds until a server must answer for the first time."""
ROW = np.random.default_rng(0).standard_normal((1, 16)).astype(np.float32).tolist()
INSTANCES = json.dumps({"instances": ROW})
V2 = json.dumps({"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": ROW[0]}]})


@dataclass(frozen=True)
class Server:
    """A server under test.

    Attributes:
        name: What the table calls it.
        packages: What its environment holds; empty for xport itself.
        path: Where a request goes.
        body: What it says.
        start: Gives the command that starts it, from the interpreter, the model, an empty folder and a port.
        batch: Rows that it may put together, where its user has to ask for that.
    """

    name: str
    packages: tuple[str, ...]
    path: str
    body: str
    start: Callable[[Server, str, Path, Path, int], list[str]] = field(repr=False)
    batch: int = 1


def start_xport(_: Server, python: str, model: Path, folder: Path, port: int) -> list[str]:
    """The embedded server as anybody starts it; it batches unasked."""
    return [python, "-m", "xport", "serve", f"model={model}", "--port", str(port), "--no-grpc", "--threads", "1"]


def start_xport_alone(server: Server, python: str, model: Path, folder: Path, port: int) -> list[str]:
    """The embedded server that runs the model in its own process, as KServe's SDK does."""
    return [*start_xport(server, python, model, folder, port), "--workers", "0"]


def start_kserve(_: Server, python: str, model: Path, folder: Path, port: int) -> list[str]:
    """KServe's SDK."""
    return [python, str(PEERS / "kserve_server.py"), str(model), str(port)]


def start_mlserver(server: Server, python: str, model: Path, folder: Path, port: int) -> list[str]:
    """MLServer: settings beside a runtime of our own; one that batches does so in the server's own process."""
    settings = {"http_port": port, "host": "127.0.0.1", "grpc_port": free_port(), "metrics_port": free_port()}
    settings |= {"parallel_workers": 0 if server.batch > 1 else 1}
    batching = {"max_batch_size": server.batch, "max_batch_time": 0.002} if server.batch > 1 else {}
    described = {
        "name": "model",
        "implementation": "mlserver_runtime.OnnxModel",
        "parameters": {"uri": str(model)},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 8]}],
        **batching,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(described))
    shutil.copy(PEERS / "mlserver_runtime.py", folder)
    return [str(Path(python).with_name("mlserver")), "start", str(folder)]


def start_torchserve(server: Server, python: str, model: Path, folder: Path, port: int) -> list[str]:
    """TorchServe: an archive with a handler of our own, and its properties."""
    batching = f"minWorkers: 1\nmaxWorkers: 1\nbatchSize: {server.batch}\nmaxBatchDelay: 2\n"
    (folder / "model-config.yaml").write_text(batching)
    archive = [str(Path(python).with_name("torch-model-archiver")), "--model-name", "model", "--version", "1"]
    archive += ["--handler", str(PEERS / "torchserve_handler.py"), "--extra-files", str(model)]
    archive += ["--config-file", str(folder / "model-config.yaml"), "--export-path", str(folder)]
    subprocess.run(archive, check=True, capture_output=True)
    ports = {"inference": port, "management": free_port(), "metrics": free_port()}
    lines = [f"{name}_address=http://127.0.0.1:{number}" for name, number in ports.items()]
    lines += [
        f"grpc_inference_port={free_port()}",
        f"grpc_management_port={free_port()}",
        "disable_token_authorization=true",
    ]
    (folder / "config.properties").write_text("\n".join(lines) + "\n")
    command = [str(Path(python).with_name("torchserve")), "--foreground", "--ncs", "--disable-token-auth"]
    return [
        *command,
        "--ts-config",
        str(folder / "config.properties"),
        "--model-store",
        str(folder),
        "--models",
        "model.mar",
    ]


ONNX = "onnxruntime==1.31.1"
MLSERVER = ("mlserver==1.7.1", "uvloop==0.21.0", ONNX)  # its workers do not start with uvloop 0.22
TORCHSERVE = ("torchserve==0.12.0", "torch-model-archiver==0.12.0", "torch==2.13.0", "pyyaml", "setuptools<81", ONNX)
SERVERS = (
    Server("xport", (), "/v1/models/model:predict", INSTANCES, start_xport),
    Server("xport --workers 0", (), "/v1/models/model:predict", INSTANCES, start_xport_alone),
    Server("kserve 0.21.0", ("kserve==0.21.0", ONNX), "/v1/models/model:predict", INSTANCES, start_kserve),
    Server("mlserver 1.7.1", MLSERVER, "/v2/models/model/infer", V2, start_mlserver),
    Server("mlserver 1.7.1, batches", MLSERVER, "/v2/models/model/infer", V2, start_mlserver, 16),
    Server("torchserve 0.12.0", TORCHSERVE, "/predictions/model", INSTANCES, start_torchserve),
    Server("torchserve 0.12.0, batches", TORCHSERVE, "/predictions/model", INSTANCES, start_torchserve, 16),
)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(server: Server, port: int) -> Any:
    """One request by a plain client: the output's values in row order."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{server.path}", server.body.encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as answer:
        told = json.load(answer)
    return told["outputs"][0]["data"] if "outputs" in told else told["predictions"][0]


def first_answer(server: Server, process: subprocess.Popen[bytes], port: int, log: Path) -> Any:
    """Wait until a server answers.

    Raises:
        AbsentError: If it ends or stays silent; its last line of log is the reason.
    """
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            return ask(server, port)
        except (OSError, ValueError, KeyError):
            time.sleep(0.5)
    said = log.read_text(errors="replace").strip().splitlines()
    raise AbsentError(f"it does not answer: {said[-1] if said else 'no word'}")


def round_of(server: Server, port: int, clients: int, seconds: float, folder: Path) -> list[float]:
    """Seconds of each answer under load, by clients in a process of their own."""
    request = folder / "request"
    head = f"POST {server.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request.write_bytes(f"{head}Content-Length: {len(server.body)}\r\n\r\n{server.body}".encode())
    client = [sys.executable, str(PEERS.parent / "serving.py"), "--client", str(port), str(request), str(clients)]
    output = subprocess.run([*client, str(seconds)], capture_output=True, text=True, check=True)
    return list(json.loads(output.stdout))


def measured(servers: dict[str, tuple[Server, int, Path]], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Let the servers take turns; medians over the rounds."""
    rows = []
    for clients in CLIENTS:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, (server, port, folder) in servers.items():
                found[name].append(figures(name, round_of(server, port, clients, seconds, folder), seconds))
        for name, own in found.items():
            middle = {key: statistics.median(row[key] for row in own) for key in ("p50_ms", "p99_ms", "rps")}
            rows.append({"server": name, "clients": clients, **middle})
    return rows


def begin(server: Server, model: Path, folder: Path) -> tuple[subprocess.Popen[bytes], int, Path]:
    """Start a server in a session of its own, so that its workers can be ended with it: process, port and log."""
    folder.mkdir()
    port, log = free_port(), folder / "log"
    python = python_of(Engine(server.name, server.packages, (3, 11), ()))
    command = server.start(server, python, model, folder, port)
    alone = environment() | {"TMPDIR": str(folder)}  # TorchServe keeps its process ID there, and starts only once
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder, env=alone, start_new_session=True)
    return process, port, log


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End servers and what they started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            for process in processes:
                process.wait(10)


def compare(servers: list[Server], work: Path, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Start all, see that all answer alike, and measure."""
    model = write_mlp(work / "model.onnx")
    running: dict[str, tuple[Server, int, Path]] = {}
    processes: list[subprocess.Popen[bytes]] = []
    answers = []
    try:
        for index, server in enumerate(servers):
            folder = work / str(index)
            try:
                process, port, log = begin(server, model, folder)
                processes.append(process)
                answers.append(first_answer(server, process, port, log))
            except AbsentError as error:
                print(f"{server.name}: left out: {error}", file=sys.stderr, flush=True)
                continue
            np.testing.assert_allclose(answers[-1], answers[0], rtol=1e-5, atol=1e-6, err_msg=server.name)
            print(f"{server.name}: answers as it should", file=sys.stderr, flush=True)
            running[server.name] = (server, port, folder)
        return measured(running, rounds, seconds)
    finally:
        stop(processes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", nargs="*", default=[""], help="those whose names begin so")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each server in each round")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    wanted = [server for server in SERVERS if server.name.startswith(tuple(arguments.servers))]
    with tempfile.TemporaryDirectory(prefix="xsf-") as work:
        rows = compare(wanted, Path(work), arguments.rounds, arguments.seconds)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
