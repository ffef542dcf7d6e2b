"""The proof inside an artifact: written by the gate, read by ``verify``, ``inspect`` and the runners."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xport import carriers, golden
from xport.artifact import Proof
from xport.errors import UnreadableModelError
from xport.formats import Format
from xport.golden import Case
from xport.serve import warmup
from xport.signature import Signature
from xport.validate.verdicts import OutputVerdict

SHEET_VERSION = 1
"""Version of the JSON form of the member `xport.carriers.SHEET`."""


def attach(
    path: Path,
    file_format: Format,
    signature: Signature,
    proof: Proof,
    cases: Sequence[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]] = (),
    *,
    model_name: str = "",
) -> None:
    """Put a proof into an artifact, in place of the one it had.

    Args:
        path: The model file, or the SavedModel's folder.
        file_format: What it holds.
        signature: Inputs and outputs, in order, with the names of dynamic dimensions.
        proof: Where the artifact comes from and what was measured.
        cases: Inputs and the source's outputs; the smallest are kept, within the limits of `xport.golden`.
        model_name: For a SavedModel, the name that its warm-up requests ask for; by default the folder's.

    Raises:
        UnreadableModelError: If the file is broken.
    """
    kept = golden.select(cases)
    sheet = {
        "sheet_version": SHEET_VERSION,
        "signature": signature.to_json(),
        "proof": proof.to_json(),
        "golden": {"kept": len(kept), "measured": len(cases)},
    }
    members = {carriers.SHEET: json.dumps(sheet, indent=1, ensure_ascii=False).encode()}
    if kept:
        members[carriers.GOLDEN] = golden.encode(kept)
    carriers.write_members(path, file_format, members)
    if file_format is Format.SAVEDMODEL:
        warmup.write(path, [inputs for inputs, _ in kept], model_name=model_name)


def read(path: Path, file_format: Format) -> tuple[Signature, Proof, list[Case]] | None:
    """Read the proof of an artifact.

    Args:
        path: The model file, or the SavedModel's folder.
        file_format: What it holds.

    Returns:
        Signature, proof, and the golden inputs and outputs; None for a model that xport did not make.

    Raises:
        UnreadableModelError: If the file or the proof is broken.
    """
    members = carriers.read_members(path, file_format)
    if carriers.SHEET not in members:
        return None
    signature, proof = _parse(path, members[carriers.SHEET])
    cases = golden.decode(members[carriers.GOLDEN]) if carriers.GOLDEN in members else []
    return signature, proof, cases


def read_signature(path: Path, file_format: Format) -> Signature | None:
    """The signature that an artifact carries; None for a model that xport did not make.

    Raises:
        UnreadableModelError: If the file or the proof is broken.
    """
    sheet = carriers.read_members(path, file_format, [carriers.SHEET]).get(carriers.SHEET)
    return None if sheet is None else _parse(path, sheet)[0]


def _parse(path: Path, sheet: bytes) -> tuple[Signature, Proof]:
    try:
        data: dict[str, Any] = json.loads(sheet)
        signature, proof = Signature.from_json(data["signature"]), Proof.from_json(data["proof"])
        _check_types(proof)
        return signature, proof
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableModelError(
            f"The proof inside {path} is broken: {type(error).__name__}: {error}", "Convert the model again."
        ) from error


def _check_types(proof: Proof) -> None:
    """Whoever shows or uses a proof later must find in it what belongs there.

    Raises:
        KeyError: If a verdict lacks something.
        TypeError: If something is of another type.
        ValueError: If a number is none.
    """
    texts = [*proof.source, *proof.source.values(), *proof.route, *proof.versions, *proof.versions.values()]
    for row in proof.parity:
        OutputVerdict.from_json(row)
        texts += [row[name] for name in ("output", "verdict", "rule", "reason")]
        for name in ("max_abs", "ratio"):
            float(row[name] if row[name] is not None else 0)
    kinds = ((proof.options, dict), (proof.parity, list), (proof.verified, bool), (proof.created, str))
    if not all(isinstance(part, kind) for part, kind in kinds) or not all(isinstance(text, str) for text in texts):
        raise TypeError("something in it is of another type than xport writes")
