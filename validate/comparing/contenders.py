"""Who takes part in a comparison: one table, from which the command's help, its errors and its docs come."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from xport.errors import UsageError
from xport.formats import Format


@dataclass(frozen=True)
class Contender:
    """One way to run a model.

    Attributes:
        name: What the user calls it.
        label: What the report calls it.
        format: What it runs.
        runtime: What runs it.
        how: How it is run, in words.
        compiled: Whether it runs through ``torch.compile``.
        makeable: Whether models are converted into its format; otherwise only a source can be it.
    """

    name: str
    label: str
    format: Format
    runtime: str
    how: str
    compiled: bool = False
    makeable: bool = True


CONTENDERS = (
    Contender("eager", "PyTorch eager", Format.PYTORCH, "PyTorch", "the nn.Module itself, without gradients"),
    Contender(
        "compile",
        "torch.compile",
        Format.PYTORCH,
        "PyTorch",
        "the nn.Module through torch.compile with its defaults (inductor)",
        compiled=True,
    ),
    Contender("torchscript", "TorchScript", Format.TORCHSCRIPT, "PyTorch", "torch.jit.load, its interpreter"),
    Contender("pt2", "torch.export", Format.EXPORTED, "PyTorch", "the .pt2 program's graph, not compiled"),
    Contender(
        "onnx", "ONNX Runtime", Format.ONNX, "ONNX Runtime", "an InferenceSession with its default optimisations"
    ),
    Contender(
        "tensorflow", "TensorFlow", Format.SAVEDMODEL, "TensorFlow", "the SavedModel's graph, as TF Serving runs it"
    ),
    Contender("keras", "Keras", Format.KERAS, "TensorFlow", "the model in a tf.function", makeable=False),
    Contender("litert", "LiteRT", Format.TFLITE, "LiteRT", "the interpreter with its default delegate (XNNPACK)"),
)
"""Every contender, in the order of the report."""

ALIASES = {
    "pytorch": "eager",
    "torch": "eager",
    "inductor": "compile",
    "torch.compile": "compile",
    "ts": "torchscript",
    "jit": "torchscript",
    "export": "pt2",
    "exported": "pt2",
    "onnxruntime": "onnx",
    "ort": "onnx",
    "savedmodel": "tensorflow",
    "tf": "tensorflow",
    "tflite": "litert",
}
"""Other names that people use."""


def choose(asked: Sequence[str], source: Format) -> tuple[Contender, ...]:
    """The contenders of a comparison, in the table's order.

    Args:
        asked: Names as the user wrote them; empty for all that the source can become.
        source: The source's format. The contender that runs the source itself always takes part.

    Returns:
        The contenders.

    Raises:
        UsageError: If a name is unknown.
    """
    named = {_find(name) for name in asked}
    own = own_contender(source)
    return tuple(c for c in CONTENDERS if c is own or (c.name in named if asked else c.makeable))


def own_contender(source: Format) -> Contender:
    """The contender that runs a source as it is."""
    return next(c for c in CONTENDERS if c.format is source and not c.compiled)


def _find(name: str) -> str:
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    names = [contender.name for contender in CONTENDERS]
    if key in names:
        return key
    close = difflib.get_close_matches(key, [*names, *ALIASES], n=1)
    hint = f"Did you mean {ALIASES.get(close[0], close[0])}? " if close else ""
    raise UsageError(f"There is no contender {name!r}.", f"{hint}Use some of {','.join(names)}.")
