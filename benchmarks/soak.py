"""The embedded server under load for a long time: does it grow, does it fail, what does a killed worker cost?

python benchmarks/soak.py                      ten minutes at 80 % of what it can do, then two with workers killed
python benchmarks/soak.py --seconds 60         shorter
python benchmarks/soak.py --json FILE          the figures for machines, too

The load is `xport probe`'s open one, in a process of its own; it judges the distinct answers against the model. What
the server can do beside it is found first: sixteen clients that wait for their answers promise too much, so the rate
goes down from theirs until an open load gets every answer in time; one whose answers are late is about to fill the
queue. Memory is the resident memory of the server's process and of its workers, looked at every second: its growth is
the difference between the medians of the run's second tenth and its last. Connections are told beside it, since each
costs the server some 15 kB that the allocator keeps for the next one.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from measure import machine
from serving import write_mlp

SHARE = 0.8
WORKERS = 2
KILL_EVERY = 20.0
TRIAL, STEP = 20.0, 0.85
"""Seconds of an open load that must get every answer, and how much less the next one tries."""
IN_TIME = 0.1
"""Seconds within which 99 of 100 answers come where a load is borne."""


class Memory(threading.Thread):
    """Looks at a server every second: MB of its own process and of all its workers, and its open files."""

    def __init__(self, pid: int) -> None:
        """Watch the process ``pid``."""
        super().__init__(daemon=True)
        self.server = psutil.Process(pid)
        self.samples: list[tuple[float, float, int]] = []
        self.done = threading.Event()

    def run(self) -> None:
        """Until the server is gone, or `done` is set."""
        with contextlib.suppress(psutil.NoSuchProcess):
            while not self.done.wait(1.0):
                workers = 0
                for child in self.server.children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        workers += child.memory_info().rss
                self.samples.append((self.server.memory_info().rss / 1e6, workers / 1e6, self.server.num_fds()))

    def told(self) -> dict[str, float]:
        """MB at the end, how much it grew, and the most connections at once."""
        self.done.set()
        self.join()
        tenth = max(len(self.samples) // 10, 1)
        early, late = self.samples[tenth : 2 * tenth], self.samples[-tenth:]
        files = [sample[2] for sample in self.samples]
        row: dict[str, float] = {"most_connections": max(files) - min(files)}
        for index, name in enumerate(("server", "workers")):
            first, last = (statistics.median(sample[index] for sample in part) for part in (early, late))
            row |= {f"{name}_mb": round(last, 1), f"{name}_growth_mb": round(last - first, 1)}
        return row


def probe(url: str, model: Path, load: str) -> dict[str, Any]:
    """A load by `xport probe`, as its JSON tells it."""
    command = [sys.executable, "-m", "xport", "probe", url, "--against", str(model), "--load", load, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        raise SystemExit(done.stderr) from None


def row(told: dict[str, Any], memory: Memory) -> dict[str, Any]:
    """What one load showed."""
    (load,) = told["loads"]
    latency = (
        {f"{name}_ms": round(load["latency"][name] * 1e3, 2) for name in ("p50", "p99")} if load["latency"] else {}
    )
    figures = {"load": load["load"], "rps": round(load["throughput"]), **latency, "sent": load["sent"]}
    judged = {"distinct_answers": load["distinct"], "passed": told["passed"]}
    return {**figures, "statuses": load["statuses"], **judged, **memory.told()}


def capacity(url: str, model: Path) -> int:
    """Requests a second that an open load sends, and all of them are answered."""
    rate = float(probe(url, model, "16x5s")["loads"][0]["throughput"])
    while True:
        (load,) = probe(url, model, f"{max(int(rate), 1)}rpsx{TRIAL:g}s")["loads"]
        refused = load["sent"] - load["statuses"].get("200", 0)
        late = load["latency"]["p99"] if load["latency"] else float("inf")
        told = f"{rate:.0f} a second: {refused} of {load['sent']} not answered, p99 {late * 1e3:.0f} ms"
        print(told, file=sys.stderr, flush=True)
        if (not refused and late <= IN_TIME) or rate <= 1:
            return max(int(rate), 1)
        rate *= STEP


def kill_workers(server: psutil.Process, done: threading.Event, kills: list[int]) -> None:
    """Kill one worker after the other, until told to end."""
    for turn in itertools.count():
        if done.wait(KILL_EVERY):
            return
        workers = server.children(recursive=True)
        if workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                workers[turn % len(workers)].kill()
                kills.append(turn)


def soak(model: Path, seconds: float) -> list[dict[str, Any]]:
    """Both runs."""
    command = [sys.executable, "-m", "xport", "serve", f"model={model}", "--port", "0", "--no-grpc"]
    server = subprocess.Popen([*command, "--workers", str(WORKERS)], stderr=subprocess.PIPE, text=True)
    try:
        lines = iter(server.stderr or ())
        port = next(int(found[1]) for line in lines if (found := re.search(r"Serving .*:(\d+)$", line.strip())))
        threading.Thread(target=lambda: [None for _ in lines], daemon=True).start()  # a full pipe would stop it
        url = f"http://127.0.0.1:{port}/v1/models/model"
        most = capacity(url, model)
        rate = max(int(most * SHARE), 1)
        print(f"{most} a second are all answered; the load is {rate}", file=sys.stderr, flush=True)
        rows = []
        for killing in (False, True):
            memory, done, kills = Memory(server.pid), threading.Event(), list[int]()
            memory.start()
            killer = threading.Thread(target=kill_workers, args=(memory.server, done, kills), daemon=True)
            if killing:
                killer.start()
            span = max(seconds / 5, 10.0) if killing else seconds
            found = row(probe(url, model, f"{rate}rpsx{span:g}s"), memory)
            done.set()
            rows.append({"workers_killed": len(kills), **found})
            print(json.dumps(rows[-1]), flush=True)
        return rows
    finally:
        server.terminate()
        server.wait(timeout=60)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.strftime("%Y-%m-%d %H:%M")
        rows = soak(write_mlp(Path(folder) / "mlp.onnx"), arguments.seconds)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, begun {start}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
