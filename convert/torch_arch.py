"""The module that a state dict belongs to: import its factory, build it, fill it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

from xport.errors import UsageError, XportWarning

_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""


@contextlib.contextmanager
def importable_cwd() -> Iterator[None]:
    """Import from the working directory first, as ``python -m`` would; afterwards it comes last.

    It stays on the path because code may import more when it runs.
    """
    cwd = str(Path.cwd())
    sys.path.insert(0, cwd)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(cwd)
        if cwd not in sys.path:
            sys.path.append(cwd)


def build_module(arch: str) -> nn.Module:
    """Import ``package.module:factory`` and call it without arguments.

    Args:
        arch: The import path of a class or function (or of a module instance).

    Returns:
        The module it builds.

    Raises:
        UsageError: If it cannot be imported or called, or does not return a module.
    """
    factory = _import_factory(arch)
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise UsageError(
            f"{arch} is a {type(factory).__name__}, expected a class or function that builds the model.",
            "Name the class: --arch package.module:ClassName",
        )
    built = _call(factory, arch)
    if not isinstance(built, nn.Module):
        raise UsageError(
            f"{arch} returned a {type(built).__name__}, expected a torch.nn.Module.",
            "Let it return the model.",
        )
    return built


def _call(factory: Callable[[], Any], arch: str) -> Any:
    try:
        return factory()
    except Exception as error:  # user code
        name = arch.partition(":")[2].rpartition(".")[2]
        raise UsageError(
            f"{arch}() failed: {type(error).__name__}: {error}",
            f"It is called without arguments. Write a function that gives them, `def build(): return {name}(…)`, "
            "and name that.",
        ) from error


def _import_factory(arch: str) -> Any:
    module_name, _, attributes = arch.partition(":")
    try:
        with importable_cwd():
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        hint = "It is looked up from the working directory and in the installed packages."
        if module_name.endswith(".py"):
            hint = f"Name the module, not its file: --arch {_module_of(module_name)}:{attributes}"
        elif missing != module_name and not module_name.startswith(f"{missing}."):
            hint = f"{module_name} was found, but imports {missing}: pip install {missing.partition('.')[0]}"
        raise UsageError(f"There is no Python module {missing!r}, wanted for --arch {arch}.", hint) from error
    except Exception as error:  # user code
        raise UsageError(
            f"Importing {module_name} failed: {type(error).__name__}: {error}",
            f"See for yourself: python -c 'import {module_name}'",
        ) from error
    try:
        return functools.reduce(getattr, attributes.split("."), module)
    except AttributeError as error:
        public = _factories(module)
        listing = f"It has {', '.join(public[:8])}." if public else f"It has no torch.nn.Module: {module.__file__}"
        raise UsageError(f"Module {module_name} has no {attributes!r}.", listing) from error


def _module_of(file: str) -> str:
    """What Python calls the module in a file, seen from the working directory."""
    return ".".join(Path(file).with_suffix("").parts)


def _factories(module: ModuleType) -> list[str]:
    """Names of what may build a model: the module's own functions, and all classes of modules."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            (isinstance(value, FunctionType) and value.__module__ == module.__name__)
            or (isinstance(value, type) and issubclass(value, nn.Module))
        )
    ]


def load_weights(module: nn.Module, state: dict[str, Any], *, path: Path, arch: str) -> None:
    """Fill a module with a state dict, exactly.

    A prefix that wrappers put before every name is dropped where the module's own names have none.

    Args:
        module: The module to fill.
        state: Tensors by name.
        path: The file, for messages.
        arch: The architecture, for messages.

    Raises:
        UsageError: Naming missing, unexpected and differently shaped tensors.
    """
    state = _without_prefix(state, set(module.state_dict()))
    problems = []
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes differ
        lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        problems.append(("; ".join(lines[:3]) or str(error)).rstrip("."))
    else:
        problems += _listing("missing", missing) + _listing("unexpected", unexpected)
    if problems:
        raise UsageError(
            f"The weights in {path} do not fit {arch}: {'. '.join(problems)}.",
            "Name the factory that built the model when it was saved, with the same settings.",
        )
    _warn_of_rounding(module, state, path, arch)


def _warn_of_rounding(module: nn.Module, state: dict[str, Any], path: Path, arch: str) -> None:
    """`load_state_dict` casts in silence; what the module's own dtype cannot hold, somebody has to say."""
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    own = module.state_dict()
    rounded = [name for name, value in tensors.items() if not _holds(own[name].dtype, value.dtype)]
    if rounded:
        stored, kept = tensors[rounded[0]].dtype, own[rounded[0]].dtype
        warnings.warn(
            XportWarning(
                f"{path} holds {rounded[0]!r} as {stored}, {arch} has it as {kept}: "
                f"{len(rounded)} tensors are rounded. Let the factory return model.to({stored}) to keep them."
            ),
            stacklevel=2,
        )


def _holds(dtype: torch.dtype, other: torch.dtype) -> bool:
    """Whether a dtype has every value of another, as far as PyTorch's own promotion goes."""
    return dtype == other or torch.promote_types(dtype, other) == dtype


def _without_prefix(state: dict[str, Any], names: set[str]) -> dict[str, Any]:
    changed = True
    while changed and not names & set(state):
        changed = False
        for prefix in _PREFIXES:
            if state and all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
                changed = True
    return state


def _listing(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return [f"{len(names)} {what} ({shown})"]
