"""Models behind fsspec URLs: looked for, hashed, brought here, put there."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath
from typing import Any

from xport.convert.many.digest import digest, source_digest
from xport.errors import UnreadableModelError, UsageError
from xport.formats import Content, detect
from xport.onnx_file import external_files
from xport.runtimes import require


def file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path there.

    Args:
        url: For example ``s3://bucket/models``.

    Returns:
        Both.

    Raises:
        MissingRuntimeError: If fsspec is not installed.
        UsageError: If it does not know the URL, or lacks a package for it.
    """
    fsspec = require("fsspec")
    try:
        system, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # every file system raises its own
        raise UsageError(
            f"{url} cannot be opened: {type(error).__name__}: {error}",
            "Install the fsspec file system it needs (s3fs for s3://, gcsfs for gs://), and check the credentials.",
        ) from error
    return system, str(path)


def exists(url: str) -> bool:
    """Whether something lies behind a URL.

    Raises:
        UsageError: If the file system cannot be asked.
    """
    system, path = file_system(url)
    try:
        return bool(system.exists(path))
    except Exception as error:
        raise UsageError(f"{url} cannot be looked at: {type(error).__name__}: {error}") from error


def remote_digest(url: str) -> str | None:
    """The hash of a file or folder behind a URL, as `digest.path_digest` gives for one here; None without any."""
    system, path = file_system(url)
    if not system.exists(path):
        return None
    if not system.isdir(path):
        beside = [name for name in (f"{PurePosixPath(path).name}.data",) if system.exists(f"{path}.data")]
        return digest([("", system.open(path, "rb")), *((name, system.open(f"{path}.data", "rb")) for name in beside)])
    inside = {PurePosixPath(file).relative_to(path).as_posix(): file for file in system.find(path)}
    kept = sorted(name for name in inside if "__pycache__" not in PurePosixPath(name).parts)
    return digest((name, system.open(inside[name], "rb")) for name in kept)


def fetch(url: str, folder: Path) -> Path:
    """Bring a model here, with the files beside it that an ONNX model keeps tensors in.

    Args:
        url: A file or folder.
        folder: An empty folder.

    Returns:
        The local file or folder.

    Raises:
        UnreadableModelError: If it is not there or cannot be read.
    """
    system, path = file_system(url)
    target = folder / PurePosixPath(path).name
    try:
        if system.isdir(path):
            system.get(path.rstrip("/") + "/", str(target) + "/", recursive=True)
        else:
            system.get_file(path, str(target))
            for name in _beside(target):
                system.get_file(str(PurePosixPath(path).with_name(name)), str(folder / name))
    except Exception as error:
        raise UnreadableModelError(f"{url} cannot be read: {type(error).__name__}: {error}") from error
    return target


def _beside(model: Path) -> list[str]:
    """The files that an ONNX model keeps tensors in; what is wrong with them its conversion tells."""
    with contextlib.suppress(UnreadableModelError):
        if detect(model) is Content.ONNX:
            return [name for name in external_files(model) if PurePosixPath(name).name == name]
    return []


def fetched_digest(url: str, folder: Path) -> tuple[Path, str]:
    """Bring a model here and hash it; see `fetch`."""
    path = fetch(url, folder)
    return path, source_digest(path)
