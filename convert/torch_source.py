"""Folders of PyTorch source: ``model.py`` and ``model.safetensors``. Opening one runs the code in it."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from xport.errors import UnreadableModelError, UntrustedCodeError, XportError
from xport.formats import SOURCE_FILE, WEIGHTS_FILE

_NUMBERS = itertools.count()


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    """Leave no ``__pycache__`` in the folder: it is an artifact, and may not be writable."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def load_folder(folder: Path, *, trust: bool) -> nn.Module:
    """Run a folder's ``model.py`` and let its ``load`` build the model.

    Args:
        folder: The folder.
        trust: Whether the user allows the code in it to run.

    Returns:
        The module.

    Raises:
        UntrustedCodeError: If the user does not allow it.
        UnreadableModelError: If the code fails, or gives no module.
    """
    file = folder / SOURCE_FILE
    if not trust:
        raise UntrustedCodeError(
            f"{folder} is a model as Python source; opening it would run {SOURCE_FILE}, whatever its proof says.",
            f"Read {file}; if you trust it, add --trust-pickle.",
        )
    spec = importlib.util.spec_from_file_location(f"xport_source_{next(_NUMBERS)}", file)
    if spec is None or spec.loader is None:
        raise UnreadableModelError(f"{file} cannot be imported.")
    code = importlib.util.module_from_spec(spec)
    try:
        with _no_bytecode():
            spec.loader.exec_module(code)
        module = code.load(folder / WEIGHTS_FILE)
    except XportError:
        raise
    except Exception as error:  # the folder's own code
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        raise UnreadableModelError(
            f"{file} does not give a model: {type(error).__name__}: {first}",
            "It may have been edited; convert the model again.",
        ) from error
    if not isinstance(module, nn.Module):
        raise UnreadableModelError(
            f"load() in {file} gave a {type(module).__name__}, expected a torch.nn.Module.", "Let it return the model."
        )
    return module
