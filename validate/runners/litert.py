"""LiteRT, the runtime of TFLite files, with its default delegate (XNNPACK).

Source: https://ai.google.dev/edge/litert/inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes  # noqa: F401  (its import makes bfloat16 known to numpy, and so to LiteRT)
import numpy as np

from xport.convert.source import Source
from xport.errors import UnsupportedError
from xport.formats import Format
from xport.runtimes import require
from xport.signature import DTYPES, Signature, TensorSpec, dtype_name
from xport.validate.runners.base import BaseRunner
from xport.validate.runners.interface import reconcile, shape_from

_SERVING_DEFAULT = "serving_default"
_Details = Mapping[str, Any]


class LiteRTRunner(BaseRunner):
    """Runs the default signature of a TFLite file, or its main graph where it has no signatures."""

    runtime = "LiteRT"
    devices = ("cpu",)

    def __init__(self, source: Source, *, device: str, threads: int | None) -> None:
        super().__init__(source, device=device, threads=threads)
        interpreter = require("ai_edge_litert.interpreter")
        try:
            self._interpreter: Any = interpreter.Interpreter(str(self.path), num_threads=threads or 1)
        except (ValueError, RuntimeError) as error:
            raise self._unreadable(error) from error
        self._inputs, self._outputs = self._interface()
        found = Signature(
            tuple(self._spec(name, details) for name, details in self._inputs.items()),
            tuple(self._spec(name, details) for name, details in self._outputs.items()),
        )
        self.signature = source.interface or reconcile(found, self.path, Format.TFLITE)
        self._shapes: dict[str, tuple[int, ...]] = {}

    def _interface(self) -> tuple[dict[str, _Details], dict[str, _Details]]:
        """Details by name of inputs and outputs, in the order of the main graph."""
        order_in = [details["index"] for details in self._interpreter.get_input_details()]
        order_out = [details["index"] for details in self._interpreter.get_output_details()]
        signatures = self._interpreter.get_signature_list()
        if not signatures:
            inputs = {details["name"]: details for details in self._interpreter.get_input_details()}
            return inputs, {details["name"]: details for details in self._interpreter.get_output_details()}
        key = _SERVING_DEFAULT if _SERVING_DEFAULT in signatures else next(iter(signatures))
        runner = self._interpreter.get_signature_runner(key)
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        if not {d["index"] for d in inputs.values()} <= set(order_in):
            raise UnsupportedError(
                f"{self.path}: signature {key!r} does not run the main graph.",
                "Convert it with one signature.",
            )
        return _ordered(inputs, order_in), _ordered(outputs, order_out)

    def _spec(self, name: str, details: _Details) -> TensorSpec:
        dtype = dtype_name(np.dtype(details["dtype"]))
        if dtype not in DTYPES:
            raise UnsupportedError(f"{self.path}: {name!r} has the dtype {dtype}.", "Convert it without.")
        signature = details["shape_signature"]
        sizes = signature if len(signature) == len(details["shape"]) else details["shape"]
        return TensorSpec(name, dtype, shape_from(name, [int(size) for size in sizes]))

    def _call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._allocate({name: array.shape for name, array in inputs.items()})
        for name, array in inputs.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], array)
        self._interpreter.invoke()
        # get_tensor copies; two names may stand for one tensor.
        return {name: read(self._interpreter, details["index"]) for name, details in self._outputs.items()}

    def _allocate(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Plan the memory anew, only when a shape changes."""
        if shapes == self._shapes:
            return
        self._shapes = {}  # a failure in between leaves no plan
        for name, shape in shapes.items():
            self._interpreter.resize_tensor_input(self._inputs[name]["index"], list(shape))
        self._interpreter.allocate_tensors()
        self._shapes = shapes

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def read(interpreter: Any, index: int) -> np.ndarray:
    """An output's content; the interpreter itself refuses to give one that has no elements."""
    try:
        return np.asarray(interpreter.get_tensor(index))
    except ValueError:  # asked for only now: the details cost as much as a small model's call
        details = next(d for d in interpreter.get_output_details() if d["index"] == index)
        if 0 not in details["shape"]:
            raise
        return np.empty(details["shape"], details["dtype"])


def _ordered(details: Mapping[str, _Details], order: list[int]) -> dict[str, _Details]:
    rank = {index: place for place, index in enumerate(order)}
    return dict(sorted(details.items(), key=lambda item: rank.get(item[1]["index"], len(rank))))
