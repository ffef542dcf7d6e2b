"""The quiet in which frameworks run, and their errors in one line."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import torch

from xport.errors import ConversionError, XportError

_LOGGERS = ("torch", "torch.export", "torch.onnx", "onnxscript", "onnx_ir")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep a framework's warnings, log lines and prints from the user."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def conversion(what: str) -> Iterator[None]:
    """Run an exporter quietly and turn whatever it raises into a short `ConversionError`.

    Args:
        what: The exporter, as the message calls it.

    Yields:
        Nothing.

    Raises:
        ConversionError: With the innermost reason, chained to the original.
    """
    try:
        with quiet(), torch.no_grad(), _without_fast_path():
            yield
    except XportError:
        raise
    except Exception as error:  # exporters raise anything
        raise ConversionError(f"{what} failed: {reason(error)}") from error


@contextlib.contextmanager
def _without_fast_path() -> Iterator[None]:
    """Keep the fused kernels of `nn.TransformerEncoder` out of traces: no other format knows them."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def reason(error: BaseException) -> str:
    """The innermost cause of an error in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:3])[:400]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
