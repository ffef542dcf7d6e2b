"""A runner in another process."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np

from xport.convert.source import Source
from xport.errors import WorkerError, XportWarning
from xport.worker import Worker

_HOST = "xport.validate.runners.host"


class IsolatedRunner:
    """Stands for a runner in a worker; see `xport.validate.runners.open_runner` for the arguments.

    Attributes:
        signature: The model's inputs and outputs.
        worker: The process it runs in.
    """

    def __init__(
        self,
        source: Source,
        *,
        device: str = "cpu",
        threads: int | None = None,
        worker: Worker | None = None,
        verbose: bool = False,
    ) -> None:
        self._own = worker is None
        self.worker = worker or Worker(verbose=verbose)
        self._handle: int | None = None
        try:
            self._handle, self.signature, messages = self.worker.call(
                f"{_HOST}:open_here", source, device=device, threads=threads
            )
            for message in messages:
                warnings.warn(XportWarning(message), stacklevel=3)
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once; see `xport.validate.runners.Runner.run`."""
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        self.signature.check(arrays)  # here too: a mistake should not cost a trip
        outputs: dict[str, np.ndarray] = self.worker.call(f"{_HOST}:run_here", self._handle, arrays)
        return outputs

    def close(self) -> None:
        """Free the model, and end the process if it was opened for this runner."""
        if self._own:
            self.worker.close()
        elif self._handle is not None:
            # A worker that died, or that its owner has closed, holds no model any more.
            with contextlib.suppress(WorkerError, ValueError):
                self.worker.call(f"{_HOST}:close_here", self._handle)
        self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
