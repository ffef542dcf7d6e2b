"""Runners: one way to run a model, whatever runtime it needs.

Adding a runtime is one module with one class (a subclass of `xport.validate.runners.base.BaseRunner`) and
one line in `RUNNERS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from xport.convert.source import Source, open_source
from xport.errors import UsageError
from xport.formats import Format
from xport.signature import Signature
from xport.worker import Worker

__all__ = ["DEVICES", "RUNNERS", "Runner", "new_runner", "open_runner"]

RUNNERS = {
    Format.PYTORCH: "xport.validate.runners.pytorch:PyTorchRunner",
    Format.EXPORTED: "xport.validate.runners.exported:ExportedRunner",
    Format.TORCHSCRIPT: "xport.validate.runners.torchscript:TorchScriptRunner",
    Format.ONNX: "xport.validate.runners.onnxruntime_runner:OnnxRuntimeRunner",
    Format.SAVEDMODEL: "xport.validate.runners.savedmodel:SavedModelRunner",
    Format.KERAS: "xport.validate.runners.keras_runner:KerasRunner",
    Format.TFLITE: "xport.validate.runners.litert:LiteRTRunner",
    Format.SERVED: "xport.validate.runners.served:ServedRunner",
}
"""The class that runs each format."""

DEVICES = ("cpu", "cuda")
"""Where a model may run."""


class Runner(Protocol):
    """A model that can be run.

    Attributes:
        signature: Its inputs and outputs, as the runtime reports them.
    """

    signature: Signature

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once.

        Args:
            inputs: Arrays by input name.

        Returns:
            Arrays by output name, in the signature's order, owned by the caller.

        Raises:
            InputsError: If the inputs do not fit the signature.
            XportError: If the runtime fails.
        """
        ...

    def close(self) -> None:
        """Free the model; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_runner(
    source: Source | Path | Any,
    *,
    isolated: bool = True,
    device: str = "cpu",
    threads: int | None = None,
    worker: Worker | None = None,
    verbose: bool = False,
) -> Runner:
    """Open a model for running.

    Args:
        source: A source, a path, a ``zoo:`` name or a live ``nn.Module``.
        isolated: Run in a process of its own, which a crash of the runtime cannot leave. A live module
            always runs in this process.
        device: ``cpu`` or ``cuda``; never another one than asked for.
        threads: How many threads the runtime may use; None leaves it to the runtime.
        worker: A process to run in, which stays open; by default one of its own, closed with the runner.
        verbose: Let the process's messages through.

    Returns:
        The runner.

    Raises:
        UnreadableModelError: If the file is missing, broken, or not a model.
        UsageError: If the format cannot be run, the device is not there, or the model's inputs are not known.
        MissingRuntimeError: If the runtime is not installed.
        WorkerError: If its process crashes.
    """
    opened = source if isinstance(source, Source) else open_source(source)
    if opened.format not in RUNNERS:
        raise UsageError(
            f"{opened.name} is {opened.format.value}, which xport does not run.",
            "Convert it to another format.",
        )
    if device not in DEVICES:
        raise UsageError(f"Unknown device {device!r}.", f"Use one of {', '.join(DEVICES)}.")
    if opened.live or not isolated:
        return new_runner(opened, device=device, threads=threads)
    from xport.validate.runners.isolated import IsolatedRunner

    return IsolatedRunner(opened, device=device, threads=threads, worker=worker, verbose=verbose)


def new_runner(source: Source, *, device: str, threads: int | None) -> Runner:
    """A runner in this process; see `open_runner`."""
    module, _, name = RUNNERS[source.format].partition(":")
    runner: Runner = getattr(importlib.import_module(module), name)(source, device=device, threads=threads)
    return runner
