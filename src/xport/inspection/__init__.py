"""What is in a model file: interface, operators, sizes, provenance."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xport import proof
from xport.artifact import Proof
from xport.convert.source import ZOO_PREFIX, Source
from xport.errors import UsageError
from xport.formats import FORMAT_OF_CONTENT, Content, Format, detect
from xport.inspection.findings import Findings
from xport.signature import Signature, TensorSpec
from xport.worker import running

__all__ = ["Findings", "Inspection", "inspect"]

# Formats that need a framework are looked at in a worker; the others are parsed here.
_IN_WORKER = {
    Format.PYTORCH: "xport.inspection.torch_graph:find_in_module",
    Format.TORCHSCRIPT: "xport.inspection.torch_graph:find_in_torchscript",
    Format.EXPORTED: "xport.inspection.torch_graph:find_in_program",
}
_HERE = {
    Format.ONNX: "xport.inspection.onnx_graph:find",
    Format.SAVEDMODEL: "xport.inspection.tensorflow_graph:find",
    Format.TFLITE: "xport.inspection.tflite_graph:find",
}


@dataclass(frozen=True)
class Inspection:
    """What was found in a model file.

    Attributes:
        path: The file or folder.
        format: How the model is stored.
        content: What the file holds, more exactly.
        size: Its bytes on disk, with external data; for a folder, of all files in it.
        signature: Its inputs and outputs; None if the file does not tell.
        parameters: How many numbers its weights have; see `xport.inspection.findings.is_weight`.
        operators: How often each operator occurs, most frequent first.
        opsets: Version by operator domain (ONNX).
        details: What only this format knows.
        notes: What could not be found out, and why.
        proof: Where it comes from; None for a model that xport did not make.
        golden_cases: How many golden inputs it carries.
    """

    path: Path
    format: Format
    content: Content
    size: int
    signature: Signature | None
    parameters: int | None
    operators: dict[str, int]
    opsets: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    proof: Proof | None = None
    golden_cases: int = 0

    @property
    def dynamic_dimensions(self) -> dict[str, list[str]]:
        """By symbol, where it stands: ``{"batch": ["input x[0]", "output y[0]"]}``."""
        places: dict[str, list[str]] = {}
        if self.signature is None:
            return places
        for side, specs in (("input", self.signature.inputs), ("output", self.signature.outputs)):
            for spec in specs:
                for axis, dim in enumerate(spec.shape or ()):
                    if isinstance(dim, str):
                        places.setdefault(dim, []).append(f"{side} {spec.name}[{axis}]")
        return places

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {
            "path": str(self.path),
            "format": self.format.value,
            "content": self.content.value,
            "size": self.size,
            "signature": None if self.signature is None else self.signature.to_json(),
            "dynamic_dimensions": self.dynamic_dimensions,
            "parameters": self.parameters,
            "operators": self.operators,
            "opsets": self.opsets,
            "details": self.details,
            "notes": list(self.notes),
            "proof": None if self.proof is None else self.proof.to_json(),
            "golden_cases": self.golden_cases,
        }


def inspect(
    path: str | Path,
    *,
    arch: str | None = None,
    trust_pickle: bool = False,
    inputs: Iterable[TensorSpec | str] = (),
    verbose: bool = False,
) -> Inspection:
    """Look into a model file without running the model, unless that is the only way to learn its interface.

    Args:
        path: A model file or a SavedModel folder.
        arch: ``package.module:factory`` for a state dict; without it only the weights are described.
        trust_pickle: Allow code in the file to run.
        inputs: Input specs for models that do not record them.
        verbose: Let the frameworks' messages through.

    Returns:
        What was found.

    Raises:
        UnreadableModelError: If the file is missing, broken, or not a model.
        UntrustedCodeError: If looking into it would run code that it carries.
        UsageError: If it is a model of the zoo.
        MissingRuntimeError: If a package that is needed to read the file is not installed.
    """
    if str(path).startswith(ZOO_PREFIX):
        raise UsageError(
            f"{path} is built in code; there is no file to look into.",
            f"Convert it first: xport convert {path} --to onnx",
        )
    where = Path(path)
    content = detect(where)
    file_format = FORMAT_OF_CONTENT[content]
    specs = tuple(TensorSpec.parse(spec) if isinstance(spec, str) else spec for spec in inputs)
    source = Source(file_format, content, where, arch=arch, trust_pickle=trust_pickle, inputs=specs)
    found = _find(source, verbose=verbose)
    record = proof.read(where, file_format)
    return Inspection(
        path=where,
        format=file_format,
        content=content,
        size=_size(where) + sum(extra.stat().st_size for extra in found.files),
        signature=found.signature,
        parameters=found.parameters,
        operators=dict(sorted(found.operators.items(), key=lambda item: (-item[1], item[0]))),
        opsets=found.opsets,
        details=found.details,
        notes=found.notes,
        proof=record[1] if record else None,
        golden_cases=len(record[2]) if record else 0,
    )


def _find(source: Source, *, verbose: bool) -> Findings:
    if source.format in _IN_WORKER:
        with running(verbose=verbose) as worker:
            found: Findings = worker.call(_IN_WORKER[source.format], source)
            return found
    if source.format not in _HERE:
        raise UsageError(
            f"{source.name} is {source.format.value}, which xport cannot look into yet.",
            "Convert it to another format.",
        )
    module, _, name = _HERE[source.format].partition(":")
    return getattr(importlib.import_module(module), name)(source)  # type: ignore[no-any-return]


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
