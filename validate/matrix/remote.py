"""The side of a lane that runs where the model is: in a worker, or in this process for a live module.

Times are taken here, around the call, so that the way to the worker does not count.
"""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xport.convert.source import Source
from xport.errors import UsageError, XportError, XportWarning
from xport.formats import Format
from xport.runtimes import require
from xport.serve.protocols.decimals import Decimals
from xport.signature import Signature
from xport.validate.precision import Precision
from xport.validate.runners import host
from xport.validate.runners.base import BaseRunner, Placement
from xport.validate.runners.served import ServedRunner

if TYPE_CHECKING:
    from xport.validate.runners.torch_base import TorchRunner

MODULES = {
    Format.PYTORCH: "torch",
    Format.EXPORTED: "torch",
    Format.TORCHSCRIPT: "torch",
    Format.ONNX: "onnxruntime",
    Format.SAVEDMODEL: "tensorflow",
    Format.KERAS: "tensorflow",
    Format.TFLITE: "ai_edge_litert.interpreter",
}
"""What is imported to run a format."""

_STEADY_WITHIN = 0.05
_WINDOW = 5
_held: dict[int, dict[str, np.ndarray]] = {}


@dataclass(frozen=True)
class Opened:
    """A model that was opened.

    Attributes:
        number: Of its runner here.
        signature: Its inputs and outputs.
        messages: Warnings that the user should see.
        import_seconds: What importing the runtime took.
        load_seconds: What opening the model took after that.
        idle_memory: Peak resident bytes before the model was opened; 0 where the system does not tell.
    """

    number: int
    signature: Signature
    messages: list[str]
    import_seconds: float
    load_seconds: float
    idle_memory: int


@dataclass(frozen=True)
class WarmUp:
    """A warm-up: how many calls, what one takes, and whether they had stopped getting faster."""

    calls: int
    seconds: float
    steady: bool


def open_model(source: Source, *, device: str, threads: int | None, compiled: bool = False) -> Opened:
    """Import a runtime and open a model with it; the PyTorch family may be compiled, which the first call does."""
    begin = time.perf_counter()
    if source.format in MODULES:
        require(MODULES[source.format])
    imported = time.perf_counter()
    idle = peak_memory()
    begin_load = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", XportWarning)
        number, signature, messages = host.open_here(source, device=device, threads=threads)
        if compiled:
            _torch_runner(number).compile()
    loaded = time.perf_counter()
    messages += [str(w.message) for w in caught if issubclass(w.category, XportWarning)]
    return Opened(number, signature, messages, imported - begin, loaded - begin_load, idle)


def close_model(number: int) -> None:
    """Free a model."""
    _held.pop(number, None)
    host.close_here(number)


def run(number: int, inputs: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
    """Run a model; returns its outputs and the seconds of the call."""
    runner = host.get_here(number)
    begin = time.perf_counter()
    outputs = runner.run(inputs)
    return outputs, time.perf_counter() - begin


def placement(number: int, inputs: dict[str, np.ndarray]) -> Placement:
    """Where a model runs, as its runtime tells."""
    runner = host.get_here(number)
    if not isinstance(runner, BaseRunner):
        return Placement("unknown", "the runner does not tell")
    return runner.placement(inputs)


def precision(number: int) -> Precision:
    """The precision of a model of the PyTorch family, which no file tells without being loaded."""
    return _torch_runner(number).precision()


def decimals(number: int) -> Decimals:
    """How many digits a server has written its answers with."""
    runner = host.get_here(number)
    return runner.decimals if isinstance(runner, ServedRunner) else Decimals()


def _torch_runner(number: int) -> TorchRunner:
    from xport.validate.runners.torch_base import TorchRunner

    runner = host.get_here(number)
    if not isinstance(runner, TorchRunner):
        raise UsageError(f"{type(runner).__name__} runs no PyTorch module.")
    return runner


def warm_up(number: int, inputs: dict[str, np.ndarray], *, seconds: float, calls: int) -> WarmUp:
    """Hold inputs for timing and call the model until it gets no faster.

    Args:
        number: The model's number.
        inputs: What it will be timed on.
        seconds: When to stop at the latest.
        calls: When to stop at the latest.

    Returns:
        What it took.
    """
    _held[number] = inputs
    taken: list[float] = []
    begin = time.perf_counter()
    steady = False
    with _ready(number) as call:
        while not steady and len(taken) < calls and (time.perf_counter() - begin < seconds or len(taken) < 2):
            taken.append(_seconds(call))
            if len(taken) >= 2 * _WINDOW:
                before = statistics.median(taken[-2 * _WINDOW : -_WINDOW])
                steady = statistics.median(taken[-_WINDOW:]) >= (1 - _STEADY_WITHIN) * before
    return WarmUp(len(taken), statistics.median(taken[-_WINDOW:]), steady)


def take_turn(number: int, calls: int) -> list[float]:
    """Call a model once uncounted, since others had the machine in between, and then time some calls."""
    with _ready(number) as call:
        call()
        return [_seconds(call) for _ in range(calls)]


@contextlib.contextmanager
def _ready(number: int) -> Iterator[Callable[[], Any]]:
    """The call to time, on the inputs that are held for it; what fails in it is told as when it runs."""
    runner, inputs = host.get_here(number), _held[number]
    if not isinstance(runner, BaseRunner):
        yield lambda: runner.run(inputs)
        return
    try:
        with runner.ready(inputs) as call:
            yield call
    except XportError:
        raise
    except Exception as error:  # every runtime has its own tree
        raise runner.failed(error, inputs) from error


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def reset_peak_memory() -> None:
    """Let the peak begin anew, where the system can (Linux: proc(5), clear_refs)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """This process's peak resident bytes; 0 where the system does not tell."""
    return _status("VmHWM:")


def resident_memory() -> int:
    """This process's resident bytes now; 0 where the system does not tell."""
    return _status("VmRSS:")


def _status(field: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return 0


def cuda_devices() -> int:
    """How many CUDA devices this machine has, asked of the driver itself; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
