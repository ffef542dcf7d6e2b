"""What a Keras file holds, looked at before Keras opens it: code, bombs, paths out of the file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xport.archives import BROKEN, check_members, refuse_bomb
from xport.errors import UnreadableModelError, UntrustedCodeError, UsageError
from xport.runtimes import require

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_TRUSTED = ("keras", "tf_keras", "builtins")
_CODE = ("Lambda", "__lambda__", "TFOpLambda", "SlicingOpLambda")


def screen(path: Path, *, trust: bool) -> None:
    """Refuse a Keras file that would run code, fill the memory, or read other files.

    Args:
        path: A ``.keras`` or ``.h5`` file.
        trust: Whether the user allows code in the file to run.

    Raises:
        UnreadableModelError: If it is broken, or would unpack to far more than it is.
        UntrustedCodeError: If it holds code.
        UsageError: If it holds weights only.
    """
    config = _zipped_config(path) if zipfile.is_zipfile(path) else _h5_config(path)
    found = [] if trust else sorted(set(_code(config)))
    if found:
        raise UntrustedCodeError(
            f"{path} holds code of its own: {', '.join(found)}. Opening it would run that code.",
            "If you trust where it comes from, add --trust-pickle; or save the model without Lambda layers and custom "
            "objects, or export it as a SavedModel with model.export(path).",
        )


def _zipped_config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(path, archive)
            if _CONFIG not in archive.namelist():
                raise UnreadableModelError(f"{path} has no {_CONFIG}.", "Save the whole model: model.save(path).")
            config = json.loads(archive.read(_CONFIG))
            if _WEIGHTS in archive.namelist():
                with require("h5py").File(io.BytesIO(archive.read(_WEIGHTS)), "r") as file:
                    _check_h5(path, file, archive.getinfo(_WEIGHTS).file_size)
    except BROKEN as error:
        raise _broken(path, error) from error
    return config


def _h5_config(path: Path) -> Any:
    try:
        with require("h5py").File(path, "r") as file:
            _check_h5(path, file, path.stat().st_size)
            text = file.attrs.get("model_config")
            if text is None:
                raise UsageError(
                    f"{path} holds weights only, not the layers they belong to.",
                    "Save the whole model: model.save('model.keras').",
                )
            return json.loads(text.decode() if isinstance(text, bytes) else text)
    except (OSError, ValueError, KeyError, RuntimeError, RecursionError) as error:
        raise _broken(path, error) from error


def _check_h5(path: Path, file: Any, stored: int) -> None:
    """Refuse links to other files, and datasets that are far larger than what is stored."""
    h5py = require("h5py")
    total = 0
    for name, item in _members(file, h5py):
        if isinstance(item, h5py.ExternalLink) or (isinstance(item, h5py.Dataset) and item.external):
            raise UnreadableModelError(
                f"{path} reads {name!r} from another file.", "Such a file can read anything of yours; save it again."
            )
        if isinstance(item, h5py.Dataset):
            total += int(item.size or 0) * int(item.dtype.itemsize)
    refuse_bomb(path, total, stored)


def _members(group: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield name, link
            continue
        item = group[name]
        yield name, item
        if isinstance(item, h5py.Group) and isinstance(link, h5py.HardLink):
            yield from _members(item, h5py)


def _code(config: Any, owner: str = "") -> Iterator[str]:
    """The layers and functions of a configuration that are code of the file's own."""
    if isinstance(config, list):
        for item in config:
            yield from _code(item, owner)
    if not isinstance(config, dict):
        return
    inner = config.get("config")
    name = inner.get("name", owner) if isinstance(inner, dict) else owner
    kind, module = config.get("class_name"), config.get("module")
    if kind in _CODE:
        yield f"{name or 'a function'} ({kind})"
    elif isinstance(module, str) and module.partition(".")[0] not in _TRUSTED:
        yield f"{name or kind} ({module}.{kind})"
    elif isinstance(config.get("registered_name"), str) and ">" in config["registered_name"]:
        package = config["registered_name"].partition(">")[0]
        if package.partition(".")[0] not in _TRUSTED:
            yield f"{name or kind} ({config['registered_name']})"
    for value in config.values():
        yield from _code(value, name)


def _broken(path: Path, error: Exception) -> UnreadableModelError:
    return UnreadableModelError(
        f"{path} is a broken Keras file: {error}", "It may be truncated; copy or save it again."
    )
