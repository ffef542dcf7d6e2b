"""Runs the whole suite in processes of their own: a native crash or a hang costs one case."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import Outcome, names

HARNESS = Path(__file__).with_name("harness.py")
SECONDS = 120
"""How long one case may take."""
START = 600
"""How long the first case of a process may take, which waits for frameworks and the suite to load."""


def sweep(
    target: str,
    mode: str,
    wanted: list[str] | None = None,
    *,
    jobs: int = 2,
    tell: Callable[[str, Outcome], None] | None = None,
) -> dict[str, Outcome]:
    """Run cases through a target.

    Args:
        target: One of the harness's targets.
        mode: One of its modes.
        wanted: Names of cases; all if None.
        jobs: How many processes.
        tell: Told each case's outcome as it comes, ``skip`` where the mode does not apply, by one thread at a time.

    Returns:
        The outcome by name; cases to which the mode does not apply are left out.
    """
    everything = wanted if wanted is not None else names()
    outcomes: dict[str, Outcome] = {}
    turn = threading.Lock()

    def part(own: list[str]) -> None:
        for name, outcome in _answers(target, mode, own):
            if outcome.status != "skip":
                outcomes[name] = outcome
            if tell:
                with turn:
                    tell(name, outcome)

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(part, everything[i::jobs]) for i in range(jobs)]:
            future.result()
    return outcomes


def _answers(target: str, mode: str, wanted: list[str]) -> Iterator[tuple[str, Outcome]]:
    """Ask one process after another; the case during which one dies has failed."""
    left = list(wanted)
    while left:
        process = subprocess.Popen(
            [sys.executable, str(HARNESS), target, "--mode", mode, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        seconds = START
        try:
            while left:
                name = left.pop(0)
                answer = _ask(process, name, seconds)
                seconds = SECONDS
                if answer is None:
                    yield name, Outcome("failed", "the process crashed or ran out of time")
                    break
                yield name, Outcome(*answer)
        finally:
            process.kill()
            process.wait()


def _ask(process: subprocess.Popen[str], name: str, seconds: float) -> list[str] | None:
    if process.stdin is None or process.stdout is None:
        return None
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        process.stdin.write(name + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        return None
    finally:
        timer.cancel()
    return json.loads(line) if line else None
