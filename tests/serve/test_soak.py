"""Load while workers are killed: every answer is right, or an honest 503."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import xport
from xport.errors import ServingError


def workers_of(pid):
    return {int(p) for file in Path(f"/proc/{pid}/task").glob("*/children") for p in file.read_text().split()}


@pytest.mark.slow
def test_killed_workers_cost_only_503s(tmp_path, save_scaled, running):
    path = save_scaled(tmp_path / "net.onnx")
    answered, failed, wrong = [], [], []
    with running(path, "--no-grpc", "--workers", "2") as server:
        stop = time.monotonic() + 20

        def ask(seed):
            rng = np.random.default_rng(seed)
            with xport.Client(server.url, "net", retries=0) as client:
                while time.monotonic() < stop:
                    x = rng.standard_normal((1 + seed % 3, 2)).astype(np.float32)
                    try:
                        y = client({"x": x})["y"]
                        (answered if np.array_equal(y, x * 2) else wrong).append(1)
                    except ServingError as error:
                        failed.append(error.message)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        kills = 0
        while time.monotonic() < stop - 4:
            time.sleep(3)
            for pid in sorted(workers_of(server.process.pid))[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
        for thread in threads:
            thread.join()
        assert len(workers_of(server.process.pid)) == 2
    assert not wrong
    assert kills >= 3
    assert len(answered) > 100
    assert all(message.startswith("503: The worker process died") for message in failed), set(failed)
    assert len(failed) <= kills
