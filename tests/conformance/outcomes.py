"""Raw outcomes on disk, one line of JSON a case: an interrupted run goes on where it stopped.

A file belongs to one target and mode, and to one state of the code: its first line is the fingerprint of what made it.
"""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import TextIO

from harness import Outcome

ROOT = Path(__file__).resolve().parents[2]
CODE = ("convert/**/*.py", "src/xport/*.py", "validate/runners/*.py", "tests/conformance/harness.py")
PACKAGES = ("onnx", "onnx-ir", "onnxruntime", "tensorflow-cpu", "torch", "ai-edge-litert", "numpy")


def fingerprint() -> str:
    """A digest of the code and the packages that outcomes depend on."""
    digest = hashlib.sha256()
    for pattern in CODE:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    for name in PACKAGES:
        digest.update(f"{name}=={metadata.version(name)}\n".encode())
    return digest.hexdigest()


class Store:
    """A folder of outcomes.

    Args:
        folder: Where the files lie; made when the first is written.
        fingerprint: What the outcomes must have been made by; those of other code are not read. None reads any.
    """

    def __init__(self, folder: Path, fingerprint: str | None) -> None:
        self.folder = folder
        self.fingerprint = fingerprint

    def path(self, target: str, mode: str) -> Path:
        """The file of a combination."""
        return self.folder / f"{target}-{mode}.jsonl"

    def read(self, target: str, mode: str) -> dict[str, Outcome]:
        """What is stored of a combination, ``skip`` where the mode does not apply; the last line of a case counts."""
        path = self.path(target, mode)
        if not path.exists():
            return {}
        head, *lines = path.read_text().splitlines() or [""]
        if self.fingerprint is not None and head != json.dumps({"fingerprint": self.fingerprint}):
            return {}
        rows = [json.loads(line) for line in lines if line.endswith("]")]  # a run that was killed leaves half a line
        return {name: Outcome(status, detail) for name, status, detail in rows}

    def append(self, target: str, mode: str) -> TextIO:
        """Open a combination's file for more lines; a file of other code is begun anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = not self.read(target, mode)
        file = self.path(target, mode).open("w" if fresh else "a", buffering=1)
        file.write(json.dumps({"fingerprint": self.fingerprint}) + "\n" if fresh else "\n")
        return file


def line(name: str, outcome: Outcome) -> str:
    """A case's line."""
    return json.dumps([name, outcome.status, outcome.detail]) + "\n"
