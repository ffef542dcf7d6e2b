"""Keras models, run by Keras itself on TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.source import Source
from xport.runtimes import require
from xport.validate.runners.base import BaseRunner, no_cuda


class KerasRunner(BaseRunner):
    """Runs a ``.keras`` or ``.h5`` file as in inference."""

    runtime = "Keras"

    def __init__(self, source: Source, *, device: str, threads: int | None) -> None:
        super().__init__(source, device=device, threads=threads)
        self._tf: Any = require("tensorflow")
        if device == "cuda" and not self._tf.config.list_physical_devices("GPU"):
            raise no_cuda(self.runtime)
        from xport.convert.keras_loading import load

        loaded = load(source)
        self.signature = loaded.signature
        self._function: Any = self._tf.function(loaded.call, autograph=False, reduce_retracing=True)

    def _call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._tf.device("/CPU:0" if self.device == "cpu" else "/GPU:0"):
            tensors = [self._tf.constant(array) for array in inputs.values()]
            return {name: np.asarray(tensor) for name, tensor in self._function(*tensors).items()}

    def close(self) -> None:
        """Free the model."""
        self._function = None
