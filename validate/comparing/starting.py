"""What a start costs: fresh processes, from their beginning to the first answer, in rounds in which all take turns.

Every start reads the model anew. Code that ``torch.compile`` makes is kept in a cache on disk; each start gets an empty
one of its own, and one more start at the end finds the cache of the last.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xport.convert.source import Source
from xport.errors import XportError
from xport.runtimes import require
from xport.validate.comparing.results import Start, StartUp
from xport.validate.matrix import remote
from xport.validate.matrix.subjects import Subject
from xport.validate.runners import host
from xport.worker import Worker

_HERE = "xport.validate.comparing.starting"
_SLOW = 30.0
"""Seconds; what takes longer is started once only."""


@dataclass(frozen=True)
class Starter:
    """A contender with what it is started on.

    Attributes:
        subject: What runs, with its interface known.
        inputs: For the first call, under its own names.
    """

    subject: Subject
    inputs: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Settings:
    """What all starts share.

    Attributes:
        device: Where the contenders run.
        threads: How many threads they may use.
        timeout: Seconds that a start may take.
        verbose: Let the processes' messages through.
        folder: For the caches of compiled code.
    """

    device: str
    threads: int
    timeout: float | None
    verbose: bool
    folder: Path


def start_all(
    starters: Sequence[Starter], rounds: int, settings: Settings, tell: Callable[[str], None]
) -> dict[str, StartUp]:
    """Start every contender some times, in turn.

    Args:
        starters: Who.
        rounds: How often each.
        settings: What they share.
        tell: Told in a few words what begins.

    Returns:
        By the subject's name. One that did not start has the reason.
    """
    found = {starter.subject.name: StartUp() for starter in starters}
    for number in range(rounds):
        shift = number % max(len(starters), 1)
        for starter in [*starters[shift:], *starters[:shift]]:
            name = starter.subject.name
            known = found[name]
            if known.reason or any(start.total > _SLOW for start in known.starts):
                continue
            tell(f"starting {name} ({number + 1} of {rounds})")
            found[name] = _again(known, starter, settings, number)
    for starter in starters:
        known = found[starter.subject.name]
        if starter.subject.compiled and known.starts:
            tell(f"starting {starter.subject.name} with its cache")
            found[starter.subject.name] = _cached(known, starter, settings)
    return found


def _again(known: StartUp, starter: Starter, settings: Settings, number: int) -> StartUp:
    try:
        return replace(known, starts=(*known.starts, _start(starter, settings, number)))
    except XportError as error:
        return replace(known, reason=" ".join(error.message.split()))


def _cached(known: StartUp, starter: Starter, settings: Settings) -> StartUp:
    try:
        return replace(known, cached=_start(starter, settings, len(known.starts) - 1))
    except XportError as error:
        return replace(known, reason=f"with its cache: {' '.join(error.message.split())}")


def _start(starter: Starter, settings: Settings, number: int) -> Start:
    """One start; a compiled contender's cache has a number, and is there already if that number was used."""
    subject = starter.subject
    cache = str(settings.folder / f"cache-{number}") if subject.compiled else ""
    begin = time.perf_counter()
    worker = Worker(verbose=settings.verbose)
    try:
        ready: int = worker.call(f"{_HERE}:be_ready", timeout=settings.timeout)
        process = time.perf_counter() - begin
        how = {"device": settings.device, "threads": settings.threads, "compiled": subject.compiled, "cache": cache}
        start: Start = worker.call(
            f"{_HERE}:begin", subject.source, dict(starter.inputs), timeout=settings.timeout, **how
        )
    finally:
        worker.kill()
    return replace(start, process=process, process_memory=ready)


def be_ready() -> int:
    """Answer as soon as this process can work at all.

    Returns:
        Its resident bytes.
    """
    return remote.resident_memory()


def begin(
    source: Source, inputs: dict[str, np.ndarray], *, device: str, threads: int, compiled: bool, cache: str
) -> Start:
    """Import the runtime, open the model and call it once, in this process.

    Args:
        source: The model, with its interface known.
        inputs: What it is called with.
        device: Where it must run.
        threads: How many threads it may use.
        compiled: Whether it runs through ``torch.compile``.
        cache: A folder for compiled code; empty for the usual one.

    Returns:
        The seconds of each part, and the resident bytes after it.
    """
    if cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    times, memory = [time.perf_counter()], []
    require(remote.MODULES[source.format])
    times.append(time.perf_counter())
    memory.append(remote.resident_memory())
    opened = remote.open_model(source, device=device, threads=threads, compiled=compiled)
    times.append(time.perf_counter())
    memory.append(remote.resident_memory())
    host.get_here(opened.number).run(inputs)
    times.append(time.perf_counter())
    memory.append(remote.resident_memory())
    imported, loaded, first = (after - before for before, after in itertools.pairwise(times))
    return Start(0.0, imported, loaded, first, 0, *memory)
