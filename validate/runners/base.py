"""What all runners share: inputs are checked, errors are ours, outputs are the caller's own."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from xport.convert.source import Source
from xport.errors import DeviceError, UnreadableModelError, UsageError, XportError
from xport.signature import Signature


@dataclass(frozen=True)
class Placement:
    """Where a model ran, as the runtime itself tells.

    Attributes:
        device: ``cpu`` or ``cuda``; another word where it is neither.
        evidence: What the runtime reported.
    """

    device: str
    evidence: str


class BaseRunner(ABC):
    """A runner in this process.

    A subclass opens the model in its constructor, which takes ``(source, *, device, threads)``, and sets
    `signature`.

    Attributes:
        runtime: What messages call the runtime.
        devices: Where it can run.
        signature: The model's inputs and outputs.
    """

    runtime: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    signature: Signature

    def __init__(self, source: Source, *, device: str, threads: int | None) -> None:
        if device not in self.devices:
            raise DeviceError(f"{self.runtime} does not run on {device} here.", "Use --device cpu.")
        self.source = source
        self.device = device
        self.threads = threads

    @property
    def path(self) -> Path:
        """The model's file or folder."""
        if self.source.path is None:
            raise UsageError(f"{self.runtime} needs a file, got {self.source.name}.")
        return self.source.path

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once; see `xport.validate.runners.Runner.run`."""
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        self.signature.check(arrays)
        try:
            outputs = self._call({spec.name: arrays[spec.name] for spec in self.signature.inputs})
        except XportError:
            raise
        except Exception as error:  # every runtime has its own tree, some raise RuntimeError for everything
            raise self.failed(error, arrays) from error
        return {spec.name: np.array(outputs[spec.name]) for spec in self.signature.outputs}

    def failed(self, error: Exception, inputs: Mapping[str, np.ndarray]) -> XportError:
        """What is raised when the runtime failed on some inputs."""
        shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in inputs.items())
        return XportError(
            f"{self.runtime} failed on {shapes}: {brief(error)}",
            "Try the sizes that the model was made for; -v shows the whole message.",
        )

    @contextlib.contextmanager
    def ready(self, inputs: Mapping[str, np.ndarray]) -> Iterator[Callable[[], Any]]:
        """What is timed: the runtime's own call on inputs that were checked before, without what `run` does around it.

        Args:
            inputs: Arrays by input name.

        Yields:
            The call, from arrays in memory to outputs in memory.

        Raises:
            InputsError: If the inputs do not fit the signature.
        """
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        self.signature.check(arrays)
        ordered = {spec.name: arrays[spec.name] for spec in self.signature.inputs}
        yield lambda: self._call(ordered)

    @abstractmethod
    def _call(self, inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Run the model on checked inputs, in the signature's order."""

    def placement(self, inputs: Mapping[str, np.ndarray]) -> Placement:
        """Find out where the model runs; never taken from what was asked for.

        Args:
            inputs: Arrays by input name, to run the model on where that is needed.

        Returns:
            The device, with the evidence.
        """
        return Placement("cpu", f"{self.runtime} has no other device")

    @abstractmethod
    def close(self) -> None:
        """Free the model; safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _unreadable(self, error: Exception) -> UnreadableModelError:
        return UnreadableModelError(
            f"{self.runtime} cannot open {self.source.name}: {brief(error)}",
            "The file may be truncated, or made for a newer version of the runtime.",
        )


def brief(error: BaseException) -> str:
    """The first lines that say something, cut to a readable length; a heading alone says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = ""
    for line in lines:
        text = f"{text} {line}".strip()
        if not line.endswith(":") and "Graph execution error" not in line:
            break
    if isinstance(error, MemoryError) and text:
        text = f"MemoryError: {text}"
    return (text or type(error).__name__)[:400]


def no_cuda(runtime: str) -> DeviceError:
    """The error for a machine, or a build of a runtime, without CUDA."""
    return DeviceError(
        f"{runtime} finds no CUDA device.",
        "Use --device cpu, or install the build for GPUs: pip install 'xport-ml[gpu]'",
    )
