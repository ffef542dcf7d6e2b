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

_TORCH_FAMILY = (Format.PYTORCH, Format.TORCHSCRIPT, Format.EXPORTED)


@dataclass
class Reference64:
    """A source in float64; a `xport.validate.runners.Runner`.

    Attributes:
        signature: The source's signature, in its own dtypes.
    """

    signature: Signature
    _worker: Worker | None = None
    _module: Any = None

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
            result: dict[str, np.ndarray] = self._worker.call(
                "xport.validate.torch_reference:run_here", dict(inputs)
            )
            return result
        from xport.validate.torch_reference import run_wide

        return run_wide(self._module, self.signature, inputs)

    def close(self) -> None:
        """End the worker; safe to call twice."""
        self._module = None
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def reference64(source: Source, signature: Signature, *, verbose: bool = False) -> Reference64 | None:
    """Open a source in float64.

    Args:
        source: What to run.
        signature: Its inputs and outputs.
        verbose: Let a worker's messages through.

    Returns:
        Something to run; None if nothing here can run this kind of source in float64.

    Raises:
        XportError: If it should be possible but failed.
    """
    if source.live:
        from xport.validate.torch_reference import wide_module

        return Reference64(signature, _module=wide_module(source))
    if source.format is Format.ONNX and importlib.util.find_spec("xport.convert.onnx_to_torch") is None:
        return None
    if source.format not in (*_TORCH_FAMILY, Format.ONNX) or importlib.util.find_spec("torch") is None:
        return None
    worker = Worker(verbose=verbose)
    try:
        worker.call("xport.validate.torch_reference:open_here", source, signature)
    except BaseException:
        worker.kill()
        raise
    return Reference64(signature, _worker=worker)
