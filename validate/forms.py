"""The ONNX form of artifacts that PyTorch cannot open itself: what they compute, where double precision can be had."""

from __future__ import annotations

from pathlib import Path

from xport.convert.routes import HUB, STEPS
from xport.convert.source import Source, open_source
from xport.convert.workers import Workers
from xport.errors import UnsupportedError
from xport.formats import Format
from xport.signature import Signature

OPENED_BY_TORCH = (Format.PYTORCH, Format.TORCHSCRIPT, Format.EXPORTED, Format.ONNX)
"""The formats that need no form."""


def torch_form(
    source: Source, signature: Signature, folder: Path, workers: Workers, *, timeout: float | None = None
) -> Source:
    """A source that PyTorch opens: the artifact itself, or its ONNX form, read by xport's importers.

    Args:
        source: An artifact.
        signature: Its inputs and outputs.
        folder: Where the form may be written.
        workers: The processes that read it.
        timeout: Seconds that this may take.

    Returns:
        The source; a form has the artifact's names.

    Raises:
        XportError: If the importer does not know an operator, or the format has none.
    """
    if source.format in OPENED_BY_TORCH:
        return source
    step = next((s for s in STEPS if (s.source, s.target) == (source.format, HUB)), None)
    if step is None:
        raise UnsupportedError(f"Nothing here reads {source.format.value} into ONNX.")
    path = folder / "form.onnx"
    workers.call(step.needs[0], step.function, source, path, signature, {}, timeout=timeout)
    return open_source(path)
