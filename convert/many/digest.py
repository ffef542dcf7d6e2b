"""Hashes of models, wherever they lie, and of everything else that shapes a result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xport import __version__
from xport.convert.many.plan import Task
from xport.convert.many.plan_options import takes_path
from xport.errors import UnreadableModelError
from xport.formats import Content, detect
from xport.onnx_file import external_files


def digest(files: Iterable[tuple[str, Any]]) -> str:
    """A SHA-256 over files with their names.

    Args:
        files: Relative name and content, each read to its end and closed; in order of the names.

    Returns:
        The hash, hexadecimal.
    """
    total = hashlib.sha256()
    for name, file in files:
        with file:
            content = hashlib.file_digest(file, "sha256").digest()
        encoded = name.encode(errors="surrogateescape")
        total.update(len(encoded).to_bytes(8, "little") + encoded + content)
    return total.hexdigest()


def path_digest(path: Path, companions: Iterable[str] = ()) -> str:
    """The hash of a file or a folder, wherever it lies and whatever it is called.

    Args:
        path: A file or folder.
        companions: Names of files beside it that belong to it.

    Returns:
        The hash.

    Raises:
        OSError: If it cannot be read.
    """
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        return digest((file.relative_to(path).as_posix(), file.open("rb")) for file in inside)
    beside = [(name, path.parent / name) for name in companions]
    return digest((name, file.open("rb")) for name, file in [("", path), *beside])


def source_digest(path: Path) -> str:
    """The hash of a source, with the files beside it that an ONNX model keeps tensors in.

    Args:
        path: The source.

    Returns:
        The hash; that of a broken model too, whose conversion tells what is wrong.

    Raises:
        OSError: If it cannot be read.
    """
    companions: list[str] = []
    with contextlib.suppress(UnreadableModelError):
        if detect(path) is Content.ONNX:
            companions = sorted(n for n in external_files(path) if (path.parent / n).is_file())
    return path_digest(path, companions)


def fingerprint(task: Task, source: str) -> str:
    """What a finished result is known by: source, target, options and xport's version.

    Args:
        task: The task.
        source: The hash of its source; any text for one without a file.

    Returns:
        A hash.
    """
    options = {}
    for name, value in task.options.items():
        is_file = isinstance(value, str) and takes_path(name)
        options[name] = path_digest(Path(value)) if is_file else value
    if "arch" in options:
        options["arch_sha256"] = _code_digest(str(options["arch"]))
    parts = {"source": source, "target": task.target.value, "options": options, "xport": __version__}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _code_digest(arch: str) -> str:
    """The hash of the module that builds an architecture, found without importing it; "" if it is elsewhere."""
    parts = arch.partition(":")[0].split(".")
    for root in ("", *sys.path):
        for path in (Path(root, *parts).with_suffix(".py"), Path(root, *parts, "__init__.py")):
            if path.is_file():
                return path_digest(path)
    return ""
