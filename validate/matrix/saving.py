"""Writing the tensors of a validation to a folder, for a look with other tools."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xport.errors import DestinationError
from xport.replacing import replacing
from xport.validate.matrix.answers import Answers
from xport.validate.matrix.lane import Lane

_STRANGE = re.compile(r"[^\w.=-]+")


class TensorFolder:
    """A folder with one folder a set of inputs; every file is an ``.npz`` without pickles.

    Args:
        path: The folder; it may exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: Answers | None = None

    def save_answers(self, answers: Answers) -> None:
        """Write the inputs and what the reference answers.

        Raises:
            DestinationError: If that cannot be written.
        """
        self._answers = answers
        for position, each in enumerate(answers.sets):
            self._write(position, "inputs", each.case.inputs)
            self._write(position, "reference", answers.outputs[position])
            if answers.wide:
                self._write(position, "reference-float64", answers.wide[position])

    def save_outputs(self, lane: Lane, position: int, outputs: Mapping[str, np.ndarray]) -> None:
        """Write what a lane answered to one set, under the reference's names.

        Raises:
            DestinationError: If that cannot be written.
        """
        self._write(position, f"{lane.subject.name}.{lane.device}", outputs)

    def _write(self, position: int, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        if self._answers is None:
            raise DestinationError("Nothing was answered yet.")
        folder = self.path / f"{position:02d}-{_STRANGE.sub('_', self._answers.sets[position].case.name)}"
        fix = "Choose another folder for --save-tensors."
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DestinationError(f"{folder} cannot be made: {error.strerror}.", fix) from error
        plain = {key: _plain(array) for key, array in arrays.items()}
        with replacing(folder / f"{_STRANGE.sub('_', name)}.npz", fix) as file:
            np.savez_compressed(file, **plain)  # type: ignore[arg-type]


def _plain(array: np.ndarray) -> np.ndarray:
    """An array as every numpy reads it: bfloat16 and float8 as float32, text as text."""
    if array.dtype.kind == "O":
        return np.array([v if isinstance(v, bytes) else str(v).encode() for v in array.flat]).reshape(array.shape)
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat", "float8", "float4")):
        return array.astype(np.float32)
    return array
