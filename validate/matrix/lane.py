"""One artifact on one device, in a process of its own, with a time limit for everything it does."""

from __future__ import annotations

import contextlib
import importlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from xport.errors import DeviceError, MissingRuntimeError, WorkerError, XportError, XportWarning
from xport.serve.protocols.decimals import Decimals
from xport.signature import Signature
from xport.validate.matrix.remote import Opened, WarmUp
from xport.validate.matrix.subjects import Subject
from xport.validate.precision import Precision
from xport.validate.results import Status
from xport.validate.runners.base import Placement
from xport.worker import Worker

Tensors = dict[str, np.ndarray]

_REMOTE = "xport.validate.matrix.remote"
_MEMORY = re.compile(
    r"out of memory|MemoryError|bad_alloc|bad allocation|Unable to allocate|can't allocate memory"
    r"|RESOURCE_EXHAUSTED|\bOOM\b",
    re.IGNORECASE,
)
_STATUS_OF_DEATH = {"timeout": Status.TIMED_OUT, "killed": Status.OUT_OF_MEMORY, "crashed": Status.CRASHED}


class Process(Protocol):
    """What a lane needs of a process: a `xport.worker.Worker`, or `Here`."""

    def call(self, function: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Run ``package.module:function`` there."""
        ...

    def peak_memory(self) -> int:
        """Its peak resident bytes; 0 if unknown."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Here:
    """This process in the role of a worker, for live modules, which exist nowhere else: no time limit protects it."""

    def call(self, function: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Run ``package.module:function`` here."""
        module, _, name = function.partition(":")
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    def peak_memory(self) -> int:
        """Unknown: the process holds more than the model."""
        return 0

    def kill(self) -> None:
        """Nothing to end."""


def new_process(*, verbose: bool) -> Process:
    """A worker for a lane."""
    return Worker(verbose=verbose)


@dataclass(frozen=True)
class Failure:
    """Why something did not work, as a cell's result."""

    status: Status
    reason: str


def failure(error: XportError) -> Failure:
    """What an error means for a cell.

    Args:
        error: What a lane raised.

    Returns:
        The cell's status and reason.
    """
    reason = " ".join(error.message.split())
    if isinstance(error, WorkerError) and error.how:
        return Failure(_STATUS_OF_DEATH[error.how], reason)
    if _MEMORY.search(error.message):
        return Failure(Status.OUT_OF_MEMORY, reason)
    if isinstance(error, MissingRuntimeError):
        return Failure(Status.NOT_INSTALLED, f"{reason} {error.fix}")
    if isinstance(error, DeviceError):
        return Failure(Status.WRONG_DEVICE, reason)
    return Failure(Status.ERROR, reason)


class Lane:
    """A model on a device. It is opened when first needed, and again in a new process after one died.

    Args:
        subject: The artifact.
        device: Where it must run.
        threads: How many threads its runtime may use.
        timeout: Seconds after which a request is given up and the process ended.
        verbose: Let the process's messages through.

    Attributes:
        subject: The artifact.
        device: Where it must run.
        first_seconds: What its first call took.
    """

    def __init__(
        self, subject: Subject, device: str, *, threads: int | None, timeout: float | None, verbose: bool = False
    ) -> None:
        self.subject = subject
        self.device = device
        self.first_seconds: float | None = None
        self._threads = threads
        self._timeout = timeout
        self._verbose = verbose
        self._process: Process | None = None
        self._opened: Opened | None = None
        self._refused: XportError | None = None

    def open(self) -> Opened:
        """Open the model, if it is not open.

        Returns:
            What was found.

        Raises:
            XportError: If it cannot be opened; the same error again at the next try.
        """
        if self._refused is not None:
            raise self._refused
        if self._opened is not None:
            return self._opened
        try:
            self._process = Here() if self.subject.source.live else new_process(verbose=self._verbose)
            how = {"device": self.device, "threads": self._threads, "compiled": self.subject.compiled}
            opened: Opened = self._call("open_model", self.subject.source, **how)
        except XportError as error:
            self._refused = error
            self.close()
            raise
        for message in opened.messages:
            warnings.warn(XportWarning(message), stacklevel=3)
        self._opened = opened
        return opened

    @property
    def signature(self) -> Signature:
        """The model's inputs and outputs."""
        return self.open().signature

    def run(self, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """Run the model on inputs under its own names.

        Raises:
            XportError: If it fails, crashes, or takes too long.
        """
        number = self.open().number
        outputs, seconds = self._call("run", number, dict(inputs))
        if self.first_seconds is None:
            self.first_seconds = seconds
        named: Tensors = outputs
        return named

    def placement(self, inputs: Mapping[str, np.ndarray]) -> Placement:
        """Where the model runs, as its runtime tells."""
        found: Placement = self._call("placement", self.open().number, dict(inputs))
        return found

    def precision(self) -> Precision:
        """The precision of a model of the PyTorch family."""
        found: Precision = self._call("precision", self.open().number)
        return found

    def decimals(self) -> Decimals:
        """How many digits a server has written its answers with."""
        found: Decimals = self._call("decimals", self.open().number)
        return found

    def warm_up(self, inputs: Mapping[str, np.ndarray], *, seconds: float, calls: int) -> WarmUp:
        """Prepare for timing; see `xport.validate.matrix.remote.warm_up`."""
        found: WarmUp = self._call("warm_up", self.open().number, dict(inputs), seconds=seconds, calls=calls)
        return found

    def take_turn(self, calls: int) -> list[float]:
        """Time some calls, in the worker; `warm_up` must have been called."""
        taken: list[float] = self._call("take_turn", self.open().number, calls)
        return taken

    def reset_peak_memory(self) -> None:
        """Let the peak of its process begin anew."""
        self.open()
        if not self.subject.source.live:
            self._call("reset_peak_memory")

    def peak_memory(self) -> int | None:
        """The peak resident bytes of its process; None where nobody can tell."""
        return (self._process.peak_memory() or None) if self._process is not None else None

    def facts(self) -> dict[str, Any]:
        """Times and memory, as fields of a `xport.validate.results.Cell`; none for what is not known."""
        opened = self._opened
        if self.subject.source.served is not None:  # its own process is only the client's
            return {"first_seconds": self.first_seconds}
        return {
            "load_seconds": opened.load_seconds if opened else None,
            "import_seconds": opened.import_seconds if opened else None,
            "first_seconds": self.first_seconds,
            "peak_memory": self.peak_memory(),
            "idle_memory": (opened.idle_memory or None) if opened and not self.subject.source.live else None,
        }

    def close(self) -> None:
        """Free the model and end its process."""
        process, opened = self._process, self._opened
        self._process = self._opened = None
        if process is None:
            return
        if opened is not None and isinstance(process, Here):
            process.call(f"{_REMOTE}:close_model", opened.number)
        process.kill()  # it holds nothing that must be saved, and frameworks take their time to say goodbye

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        process = self._process
        if process is None:
            raise WorkerError("The lane is closed.")
        try:
            return process.call(f"{_REMOTE}:{function}", *args, timeout=self._timeout, **kwargs)
        except WorkerError as error:
            if error.how:  # the process is gone; the next request gets a new one
                self._process = self._opened = None
                with contextlib.suppress(OSError, ValueError):
                    process.kill()
            raise
        except XportError:
            raise
        except Exception as error:  # a live module's own code may raise anything
            raise XportError(f"{self.subject.name}: {type(error).__name__}: {error}") from error
