"""Imports of the optional packages: quiet, and with an error that says how to install what is missing."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Iterator
from types import ModuleType

from xport.errors import MissingRuntimeError

_EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "onnxscript": "torch",
    "onnxruntime": "cpu",
    "tensorflow": "cpu",
    "ai_edge_litert": "cpu",
    "jinja2": "report",
    "matplotlib": "report",
    "tensorboardX": "report",
    "aiohttp": "serve",
    "orjson": "serve",
    "prometheus_client": "serve",
    "grpc": "serve",
    "ray": "ray",
    "fsspec": "ray",
}
TELEMETRY_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime's Linux wheels contact their vendor otherwise
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports its use to its makers otherwise
}
"""Made before any framework is imported, for one imports another; a user's own environment overrides them."""

# Kernels are left as a runtime chooses them: what is proven is what a user's own process would run.
_CHATTER_OFF = {"tensorflow": {"TF_CPP_MIN_LOG_LEVEL": "2"}}


def defaults() -> dict[str, str]:
    """The settings that must stand in the environment before the import of any of the packages."""
    return TELEMETRY_OFF | {name: value for settings in _CHATTER_OFF.values() for name, value in settings.items()}


def set_defaults() -> None:
    """Make the settings of every package at once, for children in which others import them."""
    for name, value in defaults().items():
        os.environ.setdefault(name, value)


def require(module: str) -> ModuleType:
    """Import an optional package, or a module of one.

    Settings that must stand in the environment before the import (telemetry off, chatter off) are made here,
    as defaults that a user's own environment overrides.

    Args:
        module: Its import name, for example ``onnxruntime`` or ``ai_edge_litert.interpreter``.

    Returns:
        The module.

    Raises:
        MissingRuntimeError: If it is not installed or cannot be loaded; the fix is the pip command.
    """
    package = module.partition(".")[0]
    for name, value in (TELEMETRY_OFF | _CHATTER_OFF.get(package, {})).items():
        os.environ.setdefault(name, value)
    fix = f"pip install 'xport-ml[{_EXTRAS.get(package, 'cpu')}]'"
    if package == "tensorflow":
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # deprecation notices are nothing a user can act on
    quiet = _without_notices() if package == "tensorflow" else contextlib.nullcontext()
    try:
        with quiet:
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingRuntimeError(f"{error.name} is not installed, and this work needs it.", fix) from error
    except ImportError as error:
        raise MissingRuntimeError(f"{package} is installed but cannot be loaded: {error}", fix) from error


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """Keep from the user what native code prints while it is loaded: no log level stops TensorFlow's oneDNN notice."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no stderr to keep clean
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
