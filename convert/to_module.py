"""`xport.to_module`: any model as a trainable `torch.nn.Module`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xport import proof
from xport.artifact import Proof
from xport.convert.api import convert
from xport.convert.source import open_source
from xport.errors import ParityError
from xport.formats import Format
from xport.signature import Signature
from xport.validate.parity import judge_golden

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, np.ndarray]


def to_module(source: Any, *, verify: bool = True, **options: Any) -> torch.nn.Module:
    """Turn a model of any format into a PyTorch module with named parameters.

    The module takes tensors in the order of the model's inputs and returns one tensor, or a tuple in the order of its
    outputs. It is differentiable, moves between devices and precisions, and can be traced and exported again.

    Args:
        source: A path, a ``zoo:`` name or a live module, as for `xport.convert`.
        verify: Compare the module with the source on seeded inputs first.
        **options: As for `xport.convert`: ``inputs``, ``arch``, ``trust_pickle``, ``seed`` and others.

    Returns:
        The module, in evaluation mode.

    Raises:
        UsageError: If the source cannot be read.
        UnsupportedError: If PyTorch cannot express an operator exactly.
        ParityError: If the module's numbers differ from the source's.
    """
    from xport.convert import onnx_to_module

    with tempfile.TemporaryDirectory(prefix="xport-") as folder:
        opened = open_source(source, **{k: options[k] for k in ("arch", "trust_pickle") if k in options})
        path = opened.path if opened.format is Format.ONNX and not verify else None
        if path is None:
            path = Path(folder) / "model.onnx"
            convert(source, to=Format.ONNX, output=path, verify=verify, **options)
        module = onnx_to_module.to_module(path)
        found = proof.read(path, Format.ONNX) if verify else None
        if found is not None:
            _check(module, *found)
    return module


def _check(
    module: torch.nn.Module, signature: Signature, record: Proof, cases: Sequence[tuple[Tensors, Tensors]]
) -> None:
    """Replay the golden inputs of the proven ONNX model through the module."""
    import torch

    from xport.convert.primitives.torch_core import to_numpy, to_torch

    expected, actual = [], []
    for inputs, outputs in cases:
        with torch.no_grad():
            result = module(*[to_torch(inputs[spec.name]) for spec in signature.inputs])
        tensors = result if isinstance(result, tuple) else (result,)
        expected.append(outputs)
        actual.append({spec.name: to_numpy(t) for spec, t in zip(signature.outputs, tensors, strict=True)})
    failed = [v for v in judge_golden(expected, actual, record.parity) if not v.passed]
    if failed:
        raise ParityError(
            "The module's numbers differ from the source's: " + "; ".join(f"{v.output}: {v.reason}" for v in failed),
            "Please report the model; verify=False returns the module unproven.",
        )
