"""One callable for every format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from xport import proof
from xport.artifact import Proof
from xport.convert.source import Source, open_source
from xport.formats import Format
from xport.signature import Signature, TensorSpec
from xport.validate.runners import Runner, open_runner


class LoadedModel:
    """A model that is called with arrays by name and answers with arrays by name.

    Attributes:
        signature: Its inputs and outputs, in order.
        format: How it is stored.
        proof: Where it comes from; None for a model that xport did not make.

    Example:
        >>> with xport.load("model.onnx") as model:  # doctest: +SKIP
        ...     model({"x": np.zeros((1, 3), np.float32)})["y"]
    """

    def __init__(self, source: Source, runner: Runner, proof: Proof | None) -> None:
        self._runner = runner
        self.signature: Signature = runner.signature
        self.format: Format = source.format
        self.proof = proof

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model.

        Args:
            inputs: Arrays by input name.

        Returns:
            Arrays by output name, in the signature's order.

        Raises:
            InputsError: If the inputs do not fit the signature.
            XportError: If the runtime fails.
        """
        return self._runner.run(inputs)

    def close(self) -> None:
        """Free the model; safe to call twice."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(
    source: str | Path | Any,
    *,
    device: str = "cpu",
    threads: int | None = None,
    arch: str | None = None,
    inputs: Iterable[TensorSpec | str] = (),
    example_inputs: Any = None,
    trust_pickle: bool = False,
    isolated: bool = False,
) -> LoadedModel:
    """Load a model of any format for running.

    Args:
        source: A path, a ``zoo:`` name, or a live ``nn.Module``.
        device: ``cpu`` or ``cuda``.
        threads: How many threads the runtime may use; None leaves it to the runtime.
        arch: ``package.module:factory`` for a state dict.
        inputs: Input specs (``x:float32[batch,3]``) for models that do not record them.
        example_inputs: Arrays or tensors instead of ``inputs``.
        trust_pickle: Allow code in the file to run.
        isolated: Run it in a process of its own.

    Returns:
        The model.

    Raises:
        UsageError: If the model cannot be read, or its inputs are not known.
        MissingRuntimeError: If its runtime is not installed.
    """
    opened = open_source(source, arch=arch, trust_pickle=trust_pickle, inputs=inputs, example_inputs=example_inputs)
    found = proof.read(opened.path, opened.format) if opened.path is not None else None
    runner = open_runner(opened, isolated=isolated, device=device, threads=threads)
    return LoadedModel(opened, runner, found[1] if found else None)
