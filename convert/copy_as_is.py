"""A model to its own format: the same bytes, which then carry a proof."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from xport.convert.source import Source
from xport.errors import UsageError
from xport.signature import Signature


def convert(source: Source, target: Path, signature: Signature, options: dict[str, Any]) -> None:
    """Copy a model file, or a SavedModel's folder with the links in it as they are.

    Args:
        source: A model on disk that is one file or one folder.
        target: What to write.
        signature: The model's inputs and outputs.
        options: None that this step knows.

    Raises:
        UsageError: If the source is no file.
    """
    if source.path is None:
        raise UsageError(f"{source.name} is not a file.", "Save it and give its path.")
    if source.path.is_dir():
        shutil.copytree(source.path, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copyfile(source.path, target)
