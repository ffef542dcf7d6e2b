"""The source in float64: what everybody's rounding is measured against."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.convert.source import Source
from xport.formats import Format
from xport.signature import Signature
from xport.worker import Worker

_REMOTE = "xport.validate.torch_reference"
_POSSIBLE = (Format.PYTORCH, Format.TORCHSCRIPT, Format.EXPORTED, Format.ONNX)


@dataclass
class Reference64:
    """A source in float64.

    Attributes:
        signature: The source's signature, in its own dtypes.
    """

    signature: Signature
    _worker: Worker | None = None
    _owned: bool = False
    _handle: Any = None

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the source in float64.

        Args:
            inputs: Arrays by name, in the source's own dtypes.

        Returns:
            Arrays by output name; floating point ones are float64.

        Raises:
            XportError: If the model cannot be run in float64.
        """
        if self._worker is not None:
            outputs: dict[str, np.ndarray] = self._worker.call(f"{_REMOTE}:run_here", self._handle, dict(inputs))
            return outputs
        from xport.validate.torch_reference import run_wide

        return run_wide(self._handle, self.signature, inputs)

    def close(self) -> None:
        """Free the model; safe to call twice."""
        if self._worker is not None and self._owned:
            self._worker.close()
        elif self._worker is not None and self._handle is not None:
            self._worker.call(f"{_REMOTE}:close_here", self._handle)
        self._worker = self._handle = None


def reference64(
    source: Source, signature: Signature, *, worker: Worker | None = None, verbose: bool = False
) -> Reference64 | None:
    """Open a source in float64.

    Args:
        source: What to run.
        signature: Its inputs and outputs.
        worker: A process to run in, which stays open; by default one of its own. A live module runs in this
            process, as a copy.
        verbose: Let the process's messages through.

    Returns:
        Something to run; None if nothing here can run this kind of source in float64.

    Raises:
        XportError: If it should be possible but failed.
    """
    if source.format not in _POSSIBLE or importlib.util.find_spec("torch") is None:
        return None
    if source.live:
        from xport.validate.torch_reference import wide_module

        return Reference64(signature, _handle=wide_module(source, signature))
    process = worker or Worker(verbose=verbose)
    try:
        handle = process.call(f"{_REMOTE}:open_here", source, signature)
    except BaseException:
        if worker is None:
            process.kill()
        raise
    return Reference64(signature, process, worker is None, handle)
