"""Folders of killed conversions: each is locked while somebody works in it, and the system unlocks what is left."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import time
from pathlib import Path

from xport import posix

_YOUNG = 10.0
"""Seconds in which a folder may have been made and not locked yet."""


def hold(folder: Path) -> int | None:
    """Lock a folder until this process ends, or the lock is closed.

    Args:
        folder: The folder.

    Returns:
        The open lock; None where folders cannot be locked, and nothing will be swept.
    """
    if sys.platform == "win32":
        return None
    try:
        opened = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        posix.lock(opened, wait=False)
    except OSError:  # somebody works in it, or the file system knows no locks
        os.close(opened)
        return None
    return opened


def sweep(parent: Path, prefix: str, suffix: str) -> None:
    """Remove the folders that nobody works in any more.

    Args:
        parent: Where they lie.
        prefix: What their names begin with.
        suffix: What their names end with.
    """
    for left in parent.glob(f"{glob.escape(prefix)}*{glob.escape(suffix)}"):
        lock = hold(left) if _is_old_folder(left) else None
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


def _is_old_folder(path: Path) -> bool:
    try:
        return path.is_dir() and not path.is_symlink() and time.time() - path.stat().st_mtime > _YOUNG
    except OSError:  # it has just gone
        return False
