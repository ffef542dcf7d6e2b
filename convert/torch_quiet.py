"""The quiet in which frameworks run, and their errors in one line."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from xport.errors import ConversionError, XportError, XportWarning


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep a framework's warnings, log lines and prints from the user; our own warnings reach them."""
    ours: Any = next((f[0] for f in warnings.filters if f[1] is None and issubclass(XportWarning, f[2])), "default")
    before = logging.root.manager.disable  # not levels: torch sets one for each of its many loggers
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            warnings.simplefilter(ours, XportWarning)
            yield
    finally:
        logging.disable(before)


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
        with quiet(), torch.no_grad(), _without_fast_path(), _masks_as_given():
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


@contextlib.contextmanager
def _masks_as_given() -> Iterator[None]:
    """Keep ``nn.Transformer`` from comparing its masks with causal ones, a decision on values that no trace can take.

    It would only choose a faster kernel: the mask itself is applied either way. A hint of the caller's stays.
    """
    layers: Any = torch.nn.modules.transformer
    original = layers._detect_is_causal_mask
    layers._detect_is_causal_mask = lambda mask, is_causal=None, size=None: is_causal is True
    try:
        yield
    finally:
        layers._detect_is_causal_mask = original


def reason(error: BaseException) -> str:
    """The innermost cause of an error in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:3])[:400]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
