"""A user's own arrays, from ``.npz`` and ``.npy`` files: no pickles, and weighed before they are read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from xport.archives import BROKEN, is_bomb
from xport.errors import InputsError

ALWAYS_FINE = 1 << 30
"""Bytes that an archive may unpack to whatever it takes: masks and zeros shrink to nothing."""


def load_named(path: Path, fix: str) -> dict[str, np.ndarray]:
    """Read arrays by name.

    Args:
        path: An ``.npz`` file.
        fix: How such a file is written, for messages.

    Returns:
        The arrays.

    Raises:
        InputsError: If there is no such file, it cannot be read, holds pickled objects or one array without a name, or
            looks like a zip bomb.
    """
    loaded = _load(path, fix)
    if isinstance(loaded, np.ndarray):
        raise InputsError(f"{path} holds one bare array, expected an .npz with one array an input.", fix)
    return loaded


def load_array(path: Path, fix: str) -> np.ndarray:
    """Read one array.

    Args:
        path: A ``.npy`` file.
        fix: How such a file is written, for messages.

    Returns:
        The array.

    Raises:
        InputsError: If there is no such file, it cannot be read, holds pickled objects, or is an archive of arrays.
    """
    loaded = _load(path, fix)
    if isinstance(loaded, np.ndarray):
        return loaded
    raise InputsError(f"{path} is an archive of arrays.", f"Call it {path.stem}.npz. {fix}")


def _load(path: Path, fix: str) -> np.ndarray | dict[str, np.ndarray]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _weigh(path, sum(info.file_size for info in archive.infolist()), fix)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError as error:
        raise InputsError(f"{path} does not exist.", "Check the path.") from error
    except BROKEN as error:
        raise InputsError(f"{path} cannot be read: {error}.", fix) from error


def _weigh(path: Path, total: int, fix: str) -> None:
    stored = path.stat().st_size
    if total > ALWAYS_FINE and is_bomb(total, stored):
        raise InputsError(
            f"{path} takes {stored / 1e6:.1f} MB and would unpack to {total / 1e6:.0f} MB: it looks like a zip bomb, "
            "and nothing was unpacked.",
            fix,
        )
