"""Keras models, run by Keras itself on TensorFlow."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from xport.convert.source import Source
from xport.runtimes import require
from xport.validate.runners.base import BaseRunner, Placement, no_cuda

_KINDS = {"CPU": "cpu", "GPU": "cuda"}


class KerasRunner(BaseRunner):
    """Runs a ``.keras`` or ``.h5`` file as in inference.

    TensorFlow sizes its thread pools once: ``threads`` is certain only in a process of the runner's own.
    """

    runtime = "Keras"

    def __init__(self, source: Source, *, device: str, threads: int | None) -> None:
        super().__init__(source, device=device, threads=threads)
        self._tf: Any = require("tensorflow")
        gpus = self._tf.config.list_physical_devices("GPU")
        if device == "cuda" and not gpus:
            raise no_cuda(self.runtime)
        with contextlib.suppress(RuntimeError):  # this process has used TensorFlow before
            self._configure(gpus)
        from xport.convert.keras_loading import load

        with self._placed():
            loaded = load(source)
        self.signature = loaded.signature
        self._variables: list[Any] = list(loaded.model.variables)
        self._function: Any = self._tf.function(loaded.call, autograph=False, reduce_retracing=True)
        self._output_devices: set[str] = set()

    def _configure(self, gpus: list[Any]) -> None:
        for gpu in gpus:  # other runtimes' processes need memory, too
            self._tf.config.experimental.set_memory_growth(gpu, True)
        if gpus:
            # TF32 keeps ten bits of a float32's 23: fine to use, but not to compare with.
            self._tf.config.experimental.enable_tensor_float_32_execution(False)
        if self.threads:
            self._tf.config.threading.set_intra_op_parallelism_threads(self.threads)
            self._tf.config.threading.set_inter_op_parallelism_threads(self.threads)

    def _placed(self) -> Any:
        return self._tf.device("/CPU:0" if self.device == "cpu" else "/GPU:0")

    def _call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._placed():
            tensors = [self._tf.constant(array) for array in inputs.values()]
            outputs = self._function(*tensors)
        self._output_devices = {_kind(tensor.device) for tensor in outputs.values()}
        return {name: np.asarray(tensor) for name, tensor in outputs.items()}

    def placement(self, inputs: Mapping[str, np.ndarray]) -> Placement:
        """The devices of what a run returned, and of the variables."""
        self.run(inputs)
        counts = Counter(_kind(variable.value.device) for variable in self._variables)
        homes = self._output_devices | set(counts)
        held = ", ".join(f"{kind} {count}" for kind, count in counts.most_common()) or "none"
        evidence = f"outputs and variables: outputs {', '.join(sorted(self._output_devices))}; variables {held}"
        return Placement(next(iter(homes)) if len(homes) == 1 else "mixed", evidence)

    def close(self) -> None:
        """Free the model."""
        self._function = None
        self._variables = []


def _kind(device: str) -> str:
    """The kind of ``/job:localhost/replica:0/task:0/device:GPU:0``."""
    name = device.rpartition("device:")[2].partition(":")[0]
    return _KINDS.get(name.upper(), name)
