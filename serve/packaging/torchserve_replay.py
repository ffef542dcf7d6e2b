"""The golden inputs once more, this time through TorchServe's handler as it will be packaged."""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xport.artifact import Proof
from xport.errors import ParityError, UsageError
from xport.golden import Case
from xport.serve.packaging import torchserve
from xport.validate.parity import judge_golden


class Context:
    """As much of TorchServe's context as the handler uses.

    Attributes:
        system_properties: Where the archive was unpacked.
        status: The HTTP status by position in the batch, where it was set.
    """

    def __init__(self, folder: Path) -> None:
        self.system_properties = {"model_dir": str(folder)}
        self.status: dict[int, int] = {}
        self.content_types: dict[int, str] = {}

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        """Remember a status."""
        self.status[idx] = code

    def set_response_content_type(self, index: int, value: str) -> None:
        """Remember a content type."""
        self.content_types[index] = value


def replay(folder: Path, cases: Sequence[Case], proof: Proof) -> None:
    """Ask the handler of an archive that is being made for the golden outputs.

    Args:
        folder: What the archive will hold.
        cases: Golden inputs and outputs.
        proof: The model's proof, with the floors to judge by.

    Raises:
        UsageError: If the handler refuses golden inputs.
        ParityError: If its answers differ.
    """
    handler = load_handler(folder)
    context = Context(folder)
    handler.handle(None, context)
    expected = [outputs for _, outputs in cases]
    answers = handler.handle([{"body": _body(inputs)} for inputs, _ in cases], context)
    if context.status:
        refused = answers[min(context.status)]
        raise UsageError(f"TorchServe's handler refused golden inputs of {folder.parent.name}: {refused}")
    actual = [_read(answer, outputs) for answer, outputs in zip(answers, expected, strict=True)]
    failed = [verdict for verdict in judge_golden(expected, actual, proof.parity) if not verdict.passed]
    if failed:
        raise ParityError(
            f"TorchServe's handler does not give the golden outputs of {folder.parent.name}: "
            + " ".join(f"Output {verdict.output!r}: {verdict.reason}" for verdict in failed),
            "This is a bug in xport, or another version of a runtime; `xport verify MODEL` tells them apart.",
        )


def load_handler(folder: Path) -> Any:
    """The handler as a module of its own, loaded from the files that will be packaged, as TorchServe does it."""
    for name in (torchserve.HANDLER, torchserve.TENSORS):
        sys.modules.pop(Path(name).stem, None)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(Path(torchserve.HANDLER).stem)
    finally:
        sys.path.remove(str(folder))


def _body(inputs: Mapping[str, np.ndarray]) -> bytes:
    """Binary where that can be; text needs JSON."""
    if any(array.dtype.hasobject for array in inputs.values()):
        return json.dumps({"inputs": {name: _text(array.tolist()) for name, array in inputs.items()}}).encode()
    stream = io.BytesIO()
    np.savez(stream, **inputs)  # type: ignore[arg-type]  # numpy's stub takes the names for its own arguments
    return stream.getvalue()


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def _read(answer: bytes | str, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if isinstance(answer, bytes):
        with np.load(io.BytesIO(answer), allow_pickle=False) as archive:
            return {name: archive[name] for name in outputs}
    value = json.loads(answer)["outputs"]
    values = value if len(outputs) > 1 else {next(iter(outputs)): value}
    return {name: np.asarray(values[name], array.dtype) for name, array in outputs.items()}
