"""What the three runners of the PyTorch family share."""

from __future__ import annotations

import contextlib
import copy
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from xport import proof
from xport.convert.source import Source
from xport.errors import MissingRuntimeError, UsageError, XportWarning
from xport.runtimes import require
from xport.signature import Signature, python_names
from xport.validate.precision import Precision
from xport.validate.runners.base import BaseRunner, Placement, no_cuda


class TorchRunner(BaseRunner):
    """Runs whatever `xport.convert.torch_loading.load_module` loads, without gradients, in full precision."""

    runtime = "PyTorch"

    def __init__(self, source: Source, *, device: str, threads: int | None) -> None:
        super().__init__(source, device=device, threads=threads)
        self._torch = require("torch")
        if device == "cuda" and not self._torch.cuda.is_available():
            raise no_cuda(self.runtime)
        from xport.convert.torch_loading import load_module

        module = load_module(source)
        self.signature = source.interface or self._recorded(module) or self._derived(module)
        self._module: Any = self._placed(module)
        self._output_devices: set[str] = set()
        self._compiled = False

    def _recorded(self, module: Any) -> Signature | None:
        """The signature that the file carries, unless the user says otherwise or it is another model's."""
        source = self.source
        if source.path is None or source.inputs or source.output_names or source.example_inputs is not None:
            return None
        recorded = proof.read_signature(source.path, source.format)
        if recorded is None:
            return None
        from xport.convert.torch_flat import argument_names

        names = argument_names(module)
        if set(python_names([spec.name for spec in recorded.inputs])) <= set(names):
            return recorded
        warnings.warn(
            XportWarning(
                f"{source.path} carries a signature that is not its own: it names "
                f"{[spec.name for spec in recorded.inputs]}, the model takes {names}. The model's is used."
            ),
            stacklevel=4,
        )
        return None

    def _derived(self, module: Any) -> Signature:
        from xport.convert.torch_signature import derive_signature

        return derive_signature(self.source, module)

    def _placed(self, module: Any) -> Any:
        if self.device == "cpu":
            return module
        # A live module is the caller's, who wants it back where it was.
        return (copy.deepcopy(module) if self.source.live else module).to(self.device)

    def compile(self) -> None:
        """Run the module through ``torch.compile`` (inductor) from now on; the first call compiles."""
        # Processes of its own would outlive this one, which is killed when it is not needed any more.
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        self._module = self._torch.compile(self._module)
        self._compiled = True

    def _call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return self._run(inputs)
        except Exception as error:
            if self._compiled and "InvalidCxxCompiler" in f"{type(error).__name__} {error}":
                raise MissingRuntimeError(
                    "torch.compile needs a C++ compiler, and there is none that works.",
                    "Install one, for example apt-get install g++, or name it: export CXX=clang++",
                ) from error
            raise

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        from xport.convert.torch_probe import run
        from xport.convert.torch_values import flatten_outputs, to_array, to_tensor

        tensors = {name: to_tensor(array).to(self.device) for name, array in inputs.items()}
        with self._settings():
            outputs = flatten_outputs(run(self._module, tensors))
        self._output_devices = {tensor.device.type for _, tensor in outputs}
        if len(outputs) != len(self.signature.outputs):
            raise UsageError(
                f"The model returned {len(outputs)} tensors, expected {len(self.signature.outputs)}: "
                f"{', '.join(spec.name for spec in self.signature.outputs)}."
            )
        return {spec.name: to_array(tensor) for spec, (_, tensor) in zip(self.signature.outputs, outputs, strict=True)}

    @contextlib.contextmanager
    def ready(self, inputs: Mapping[str, np.ndarray]) -> Iterator[Callable[[], Any]]:
        """The module's own call; settings of the process are made once around all of them."""
        from xport.convert.torch_values import flatten_outputs, to_tensor

        with super().ready(inputs), self._settings(), self._torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = python_names([spec.name for spec in self.signature.inputs])
            tensors = [to_tensor(inputs[spec.name]) for spec in self.signature.inputs]

            def call() -> Any:
                moved = {name: tensor.to(self.device) for name, tensor in zip(names, tensors, strict=True)}
                return [tensor.cpu() for _, tensor in flatten_outputs(self._module(**moved))]

            yield call

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
        """Threads and precision for one run; they are the process's, so they are put back."""
        torch = self._torch
        before, before_tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
        try:
            if self.threads:
                torch.set_num_threads(self.threads)
            # TF32 keeps ten bits of a float32's 23: fine to use, but not to compare with.
            torch.backends.cuda.matmul.allow_tf32 = False
            with torch.backends.cudnn.flags(allow_tf32=False, deterministic=True):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before_tf32
            if self.threads:
                torch.set_num_threads(before)

    def placement(self, inputs: Mapping[str, np.ndarray]) -> Placement:
        """The devices of the module's tensors and of what it returns."""
        self.run(inputs)
        tensors = [*self._module.parameters(), *self._module.buffers()]
        counts = Counter(tensor.device.type for tensor in tensors)
        homes = set(counts) or self._output_devices
        device = next(iter(homes)) if len(homes) == 1 and homes & self._output_devices else "mixed"
        held = ", ".join(f"{kind} {count}" for kind, count in counts.most_common()) or "none"
        return Placement(
            device, f"parameters and buffers: {held}; outputs: {', '.join(sorted(self._output_devices)) or 'none'}"
        )

    def precision(self) -> Precision:
        """What its tensors are stored in."""
        from xport.validate.torch_precision import module_precision

        return module_precision(self._module)

    def close(self) -> None:
        """Free the module."""
        self._module = None
