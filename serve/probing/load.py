"""Loads: closed, where each client waits for its answer, and open, where requests come at their own times.

The latency of an open load counts from the time at which a request was meant to be sent: a server that stalls makes
those behind it late, too, and leaving that out (coordinated omission) would hide the stall. Only answers within the
counted time are counted; a tenth of it, at most a second, goes before.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xport import posix
from xport.errors import UsageError
from xport.serve.clients.address import Served
from xport.serve.clients.base import Exchange, Request
from xport.serve.probing.sending import BROKEN, Sender, open_sender

_LOAD = re.compile(
    r"(?P<count>\d+(?:\.\d+)?)\s*(?P<rps>rps)?\s*(?:x|for)\s*(?P<time>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m)?"
)
_UNITS = {"ms": 1e-3, "s": 1.0, None: 1.0, "m": 60.0}
_MOST_CLIENTS = 10_000
_MOST_IN_FLIGHT = 20_000
_MOST_KEPT, _MOST_BYTES_KEPT = 1000, 64 * 2**20
_PAUSE = 0.1  # after a broken connection: a server that is gone must not be hammered
_GIVE_UP = 5.0
NOT_SENT = "not sent: too many were waiting"


@dataclass(frozen=True)
class Load:
    """A load as it was asked for.

    Attributes:
        text: As it was written.
        seconds: How long it is counted.
        clients: How many send one request after the other; None for an open load.
        rate: Requests a second; None for a closed load.
    """

    text: str
    seconds: float
    clients: int | None = None
    rate: float | None = None

    @property
    def warm_up(self) -> float:
        """Seconds before the counting begins."""
        return min(1.0, self.seconds / 10)


def parse_load(text: str) -> Load:
    """Read a load: ``64x30s`` is 64 clients for 30 seconds, ``200rps x30s`` 200 requests a second.

    Raises:
        UsageError: If the text says something else.
    """
    match = _LOAD.fullmatch(text.strip())
    fix = "Write 64x30s for 64 clients that wait for their answers, 200rpsx30s for 200 requests a second."
    if match is None:
        raise UsageError(f"Malformed load {text!r}.", fix)
    seconds, count = float(match["time"]) * _UNITS[match["unit"]], float(match["count"])
    if seconds <= 0 or count <= 0:
        raise UsageError(f"The load {text!r} is empty.", fix)
    if match["rps"]:
        return Load(text.strip(), seconds, rate=count)
    if count != int(count) or count > _MOST_CLIENTS:
        raise UsageError(f"The load {text!r} has {match['count']} clients, expected 1 to {_MOST_CLIENTS}.", fix)
    return Load(text.strip(), seconds, clients=int(count))


@dataclass
class Record:
    """What happened during a load.

    Attributes:
        done: Of every successful request: when its answer was there and how long it took.
        lags: By how much requests were sent later than intended.
        statuses: How many ended how.
        seen: The different answers, by the request's position and the hash of their bytes.
        answers: As many of them as are kept, to be judged afterwards.
        begin: When the counting began.
        end: When it ended.
        client_share: What share of a processor this process took.
        early: Why it ended before its time.
    """

    done: list[tuple[float, float]] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[int, int]] = field(default_factory=set)
    answers: dict[tuple[int, int], Exchange] = field(default_factory=dict)
    begin: float = 0.0
    end: float = 0.0
    client_share: float = 0.0
    early: str = ""

    @property
    def distinct(self) -> int:
        """How many different answers there were."""
        return len(self.seen)

    @property
    def interrupted(self) -> bool:
        """Whether somebody pressed Ctrl-C."""
        return self.early == INTERRUPTED


INTERRUPTED = "it was interrupted"


def run_load(load: Load, served: Served, requests: Sequence[Request]) -> Record:
    """Put a load on a served model; Ctrl-C ends it with what was measured so far.

    Args:
        load: What to do.
        served: Where, with everything found out.
        requests: What is sent, in turn.

    Returns:
        What happened.
    """
    return asyncio.run(_Run(load, requests).run(served))


class _Run:
    """A load that runs."""

    def __init__(self, load: Load, requests: Sequence[Request]) -> None:
        self.load, self.requests = load, requests
        self.record = Record()
        self.stop = asyncio.Event()
        self.in_flight = self.kept = 0
        self.last_answer = 0.0

    async def run(self, served: Served) -> Record:
        record = self.record
        with self._interruptible():
            async with open_sender(served, self.load.clients) as sender:
                begin = time.perf_counter()
                record.begin = self.last_answer = begin + self.load.warm_up
                record.end = record.begin + self.load.seconds
                used, counted = time.process_time(), begin
                work = [asyncio.create_task(task) for task in self._work(sender, begin)]
                watch = asyncio.create_task(self._watch())
                finished = asyncio.create_task(asyncio.wait(work))
                stopped = asyncio.create_task(self.stop.wait())
                await asyncio.wait((finished, stopped), return_when=asyncio.FIRST_COMPLETED)
                record.client_share = (time.process_time() - used) / max(time.perf_counter() - counted, 1e-9)
                for task in (*work, finished, watch, stopped):
                    task.cancel()
                await asyncio.gather(*work, finished, watch, stopped, return_exceptions=True)
                for error in (task.exception() for task in work if not task.cancelled()):
                    if error is not None:
                        raise error  # a mistake of ours must not look like a calm server
        record.end = min(record.end, max(time.perf_counter(), record.begin + 1e-3))
        return record

    def _work(self, sender: Sender, begin: float) -> list[Coroutine[Any, Any, None]]:
        if self.load.clients is not None:
            return [self._client(sender, number) for number in range(self.load.clients)]
        return [self._arrivals(sender, begin)]

    async def _client(self, sender: Sender, number: int) -> None:
        turn = number
        while time.perf_counter() < self.record.end:
            label = await self._once(sender, turn % len(self.requests), time.perf_counter())
            turn += 1
            if label in BROKEN:
                await asyncio.sleep(_PAUSE)

    async def _arrivals(self, sender: Sender, begin: float) -> None:
        tasks: set[asyncio.Task[str]] = set()
        rate = self.load.rate or 1.0
        number = 0
        try:
            while (intended := begin + number / rate) < self.record.end:
                await asyncio.sleep(max(intended - time.perf_counter(), 0.0))
                if self.in_flight >= _MOST_IN_FLIGHT:
                    self._count(NOT_SENT, intended)
                else:
                    task = asyncio.create_task(self._once(sender, number % len(self.requests), intended))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                number += 1
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _once(self, sender: Sender, index: int, intended: float) -> str:
        self.in_flight += 1
        sent = time.perf_counter()
        try:
            label, good, exchange = await sender.send(self.requests[index])
        finally:
            self.in_flight -= 1
        now = time.perf_counter()
        if label not in BROKEN:
            self.last_answer = now
        if self._count(label, intended):
            self.record.lags.append(sent - intended)
            if good:
                self.record.done.append((now, now - intended))
                self._keep((index, hash(exchange[0])), exchange)
        return label

    def _keep(self, key: tuple[int, int], exchange: Exchange) -> None:
        """Keep an answer that no other was like, while there is room."""
        record = self.record
        if key in record.seen:
            return
        record.seen.add(key)
        self.kept += len(exchange[0])
        if len(record.answers) < _MOST_KEPT and (self.kept <= _MOST_BYTES_KEPT or not record.answers):
            record.answers[key] = exchange

    def _count(self, label: str, intended: float) -> bool:
        """Count a request; whether it falls into the counted time."""
        if intended < self.record.begin:
            return False
        self.record.statuses[label] += 1
        return True

    async def _watch(self) -> None:
        """End a load that nobody answers any more."""
        while True:
            await asyncio.sleep(0.25)
            if sum(self.record.statuses.values()) and time.perf_counter() - self.last_answer > _GIVE_UP:
                broken = sum(self.record.statuses[label] for label in BROKEN)
                if broken:
                    self.record.early = f"it ended early: no answer for {_GIVE_UP:g} s"
                    self.stop.set()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C end the load instead of the process, where signals can be had."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        put_back = posix.on_signal(asyncio.get_running_loop(), signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            put_back()

    def _interrupt(self) -> None:
        self.record.early = INTERRUPTED
        self.stop.set()


def by_second(record: Record) -> Mapping[int, int]:
    """Successful answers in every whole second of the counted time."""
    whole = int(record.end - record.begin)
    counts = Counter(int(at - record.begin) for at, _ in record.done if at >= record.begin)
    return {second: counts[second] for second in range(whole)}
