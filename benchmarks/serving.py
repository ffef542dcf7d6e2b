"""The embedded server under closed-loop load, beside the same model called in process.

python benchmarks/serving.py                       a tiny MLP over REST JSON, one client and sixteen
python benchmarks/serving.py --model resnet50.onnx  any model, over V2 with raw tensors
python benchmarks/serving.py --json figures.json    the figures for machines, too

Clients run in a process of their own and keep their connections. What is printed is what was measured, the machine's
load beside it: on a busy machine the figures say little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine

import xport
from xport.signature import Signature
from xport.validate.inputs import batch_symbol, cases

CLIENTS = (1, 16)
WARM_UP = 1.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model instead of the tiny MLP")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", default="1", help="of the server; 0 runs the model in its own process")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--client", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        port, request, clients, seconds = arguments.client
        print(json.dumps(asyncio.run(load(int(port), Path(request).read_bytes(), int(clients), float(seconds)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or write_mlp(Path(folder) / "mlp.onnx")
        rows = [in_process(path, arguments.seconds), *served(path, Path(folder), arguments)]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def write_mlp(path: Path) -> Path:
    """A multilayer perceptron 16-32-8."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {"a": rng.standard_normal((16, 32)), "b": rng.standard_normal((32, 8))}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "b"], ["y"]),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def one_row(signature: Signature) -> dict[str, np.ndarray]:
    """Seeded inputs of one row."""
    batch = batch_symbol(signature)
    sizes = {symbol: 1 if symbol == batch else 32 for symbol in signature.symbols}
    return cases(signature, sizes=[sizes])[0].inputs


def in_process(path: Path, seconds: float) -> dict[str, Any]:
    """The model called in this process, one row at a time."""
    with xport.load(path) as model:
        inputs, times = one_row(model.signature), []
        end = time.perf_counter() + WARM_UP + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            model(inputs)
            times.append(time.perf_counter() - started)
    return figures("in process", times[len(times) // 5 :])


def served(path: Path, folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The model behind the server, asked by closed-loop clients."""
    command = [sys.executable, "-m", "xport", "serve", f"model={path}", "--port", "0", "--no-grpc"]
    command += ["--workers", arguments.workers]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        lines = iter(server.stderr or ())
        port = next(int(found[1]) for line in lines if (found := re.search(r"Serving .*:(\d+)$", line.strip())))
        with xport.load(path) as model:
            inputs = one_row(model.signature)
        request = folder / "request"
        request.write_bytes(raw_tensors(inputs) if arguments.model else as_json(inputs))
        rows = []
        for clients in CLIENTS:
            client = [sys.executable, __file__, "--client", str(port), str(request), str(clients)]
            output = subprocess.run([*client, str(arguments.seconds)], capture_output=True, text=True, check=True)
            rows.append(figures(f"{clients} client(s)", json.loads(output.stdout), arguments.seconds))
        return rows
    finally:
        server.terminate()
        server.communicate(timeout=60)


def as_json(inputs: dict[str, np.ndarray]) -> bytes:
    """A whole HTTP request in TF Serving's column form."""
    body = json.dumps({"inputs": {name: array.tolist() for name, array in inputs.items()}}).encode()
    return _request("/v1/models/model:predict", body, "")


def raw_tensors(inputs: dict[str, np.ndarray]) -> bytes:
    """A whole HTTP request of V2 with raw tensors both ways."""
    from xport.serve.clients.base import Target
    from xport.serve.clients.v2 import V2

    def nobody(*_: Any) -> Any:
        raise NotImplementedError  # the request is only made, not sent

    made = V2(nobody).encode(Target("model"), inputs)
    return _request(made.path, made.body or b"", "".join(f"{k}: {v}\r\n" for k, v in made.headers.items()))


def _request(path: str, body: bytes, headers: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def load(port: int, request: bytes, clients: int, seconds: float) -> list[float]:
    """Seconds of each answer, by clients that send the next request when they have the last answer."""
    times: list[float] = []
    begin = time.perf_counter() + WARM_UP

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        while (started := time.perf_counter()) < begin + seconds:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]))
            if not head.startswith(b"http/1.1 200"):
                raise SystemExit(head.decode())
            if started >= begin:
                times.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return times


def figures(name: str, times: list[float], seconds: float | None = None) -> dict[str, Any]:
    """Percentiles in milliseconds, and requests a second."""
    p50, p90, p99 = (round(float(np.percentile(times, p)) * 1e3, 3) for p in (50, 90, 99))
    return {
        "what": name,
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "rps": round(len(times) / (seconds or sum(times))),
    }


if __name__ == "__main__":
    main()
