"""Modules out of PyTorch's files, without running code that a file carries unless the user trusts it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xport.convert.source import Source
from xport.convert.torch_arch import build_module, load_weights
from xport.convert.torch_exported import FlatProgram, load_program
from xport.convert.torch_pickles import BROKEN, brief, unpickle
from xport.convert.torch_quiet import quiet
from xport.convert.torch_source import load_folder
from xport.errors import UnreadableModelError, UsageError
from xport.formats import Content


def load_module(source: Source) -> nn.Module:
    """Load a source of the PyTorch family.

    Args:
        source: A live module, a zoo model, a state dict with its architecture, a pickled module, TorchScript, or
            a ``torch.export`` program.

    Returns:
        A module in eval mode on the CPU that is called like the original. A live module is never changed: it is
        returned as it is if it is in eval mode on the CPU, otherwise a copy.

    Raises:
        UnreadableModelError: If the file is broken or holds no model.
        UntrustedCodeError: If opening it would run code that it carries.
        UsageError: If the architecture is missing, cannot be imported, or does not fit the weights.
    """
    module: nn.Module
    if source.module is not None:
        module = _live_module(source.module)
    elif source.zoo is not None:
        from xport.models import build

        name, _, size = source.zoo.partition("@")
        module = build(name, size="small" if size == "small" else "real").module
    else:
        with quiet():
            module = _load_file(source, _path(source))
    return _in_eval_mode(module)


def load_exported(source: Source) -> torch.export.ExportedProgram:
    """Load a ``torch.export`` program.

    Args:
        source: A source with a ``.pt2`` file.

    Returns:
        The program.

    Raises:
        UnreadableModelError: If the file is broken.
        UntrustedCodeError: If opening it would run code that it carries.
    """
    return load_program(_path(source), trust_pickle=source.trust_pickle)


def _path(source: Source) -> Path:
    if source.path is None:
        raise UsageError(f"{source.name} is not a file.", "Save it and give its path.")
    return source.path


def _live_module(module: nn.Module) -> nn.Module:
    """A live module without its wrappers, in eval mode on the CPU; a copy if it is not so already."""
    while isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel) or "_orig_mod" in dict(
        module.named_children()
    ):
        module = module.get_submodule("module" if hasattr(module, "module") else "_orig_mod")  # torch.compile
    devices = {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}
    if devices <= {"cpu"} and not any(child.training for child in module.modules()):
        return module
    return copy.deepcopy(module).cpu()


def _in_eval_mode(module: nn.Module) -> nn.Module:
    # An exported program's module has its mode built in and refuses eval().
    if isinstance(module, FlatProgram):
        return module
    return module.eval()


def _load_file(source: Source, path: Path) -> nn.Module:
    match source.content:
        case Content.TORCHSCRIPT:
            return _load_torchscript(path)
        case Content.EXPORTED:
            return FlatProgram(load_exported(source))
        case Content.SAFETENSORS:
            return _load_state(source, path, read_safetensors(path))
        case Content.TORCH_PICKLE:
            return _load_pickle(source, path)
        case Content.TORCH_SOURCE:
            return load_folder(path, trust=source.trust_pickle)
    raise UsageError(f"{path} does not belong to PyTorch; it is {source.format.value}.")


def _load_torchscript(path: Path) -> nn.Module:
    try:
        module: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError, UnicodeDecodeError) as error:
        raise UnreadableModelError(f"{path} is a broken TorchScript archive: {brief(error)}", BROKEN) from error
    return module


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name.

    Raises:
        UnreadableModelError: If it is broken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UnreadableModelError(f"{path} is a broken safetensors file: {brief(error)}", BROKEN) from error
    return tensors


def _load_pickle(source: Source, path: Path) -> nn.Module:
    content = unpickle(path, trust=source.trust_pickle)
    if isinstance(content, nn.Module):
        if source.arch is not None:
            return _load_state(source, path, content.state_dict())
        return content
    return _load_state(source, path, content)


def _load_state(source: Source, path: Path, content: Any) -> nn.Module:
    state = find_state(content)
    if state is None:
        raise UnreadableModelError(
            f"{path} holds no model but {_describe(content)}.",
            "Save a model: torch.save(model.state_dict(), 'weights.pt').",
        )
    if source.arch is None:
        keys = ", ".join(list(state)[:4]) + (", …" if len(state) > 4 else "")
        raise UsageError(
            f"{path} is a state dict of {len(state)} tensors ({keys}); the code that builds the model is needed too.",
            f"For a class Net in model.py: xport convert {path} --arch model:Net …",
        )
    module = build_module(source.arch)
    load_weights(module, state, path=path, arch=source.arch)
    return module


def find_state(content: Any) -> dict[str, Any] | None:
    """The state dict in what a checkpoint holds.

    Args:
        content: A state dict, or a dict with one under a usual key (``state_dict``, ``model``, …).

    Returns:
        The state dict, or None if there is none.
    """
    if not isinstance(content, dict):
        return None
    if _is_state(content):
        return content
    for key in (
        "state_dict",
        "model_state_dict",
        "model_state",
        "model",
        "module",
        "net",
        "network",
        "weights",
    ):
        inner = content.get(key)
        if isinstance(inner, nn.Module):
            inner = inner.state_dict()
        if isinstance(inner, dict) and _is_state(inner):
            return inner
    return None


def _is_state(content: dict[Any, Any]) -> bool:
    """Whether a dict is one level of tensors by name; modules may add other values under get_extra_state()."""
    if not content or not all(isinstance(key, str) for key in content):
        return False
    return all(isinstance(v, torch.Tensor) or k.endswith("_extra_state") for k, v in content.items())


def _describe(content: Any) -> str:
    if isinstance(content, dict):
        keys = ", ".join(map(repr, list(content)[:6]))
        return f"a dict with the keys {keys}" if keys else "an empty dict"
    return f"an object of type {type(content).__name__}"
