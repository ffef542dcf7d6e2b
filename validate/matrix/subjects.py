"""What is compared: artifacts with the names that a report calls them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xport import onnx_file
from xport.convert.source import Source, open_source
from xport.errors import UsageError
from xport.formats import Content, Format, detect
from xport.serve.clients.address import is_url, parse_url
from xport.signature import TensorSpec

_COMPILABLE = (Format.PYTORCH, Format.EXPORTED)
_NEEDS_ARCH = (Content.TORCH_PICKLE, Content.SAFETENSORS)


@dataclass(frozen=True)
class Subject:
    """One artifact under test.

    Attributes:
        name: What the report calls it.
        source: Where it is.
        size: Its bytes; None for a model that is in no file.
        sha256: Hash of its bytes; empty for a model that is in no file.
        compiled: Whether it runs through ``torch.compile``.
    """

    name: str
    source: Source
    size: int | None
    sha256: str
    compiled: bool = False


def open_subjects(
    given: Sequence[Any],
    *,
    arch: str | None = None,
    trust_pickle: bool = False,
    inputs: Iterable[TensorSpec | str] = (),
    example_inputs: Any = None,
    output_names: Iterable[str] = (),
    compiled: bool = False,
    served: Mapping[str, Any] | None = None,
    least: int = 2,
) -> list[Subject]:
    """Open everything that is compared.

    Args:
        given: Paths, ``zoo:`` names, URLs of served models, live modules or sources; the reference first.
        arch: ``package.module:factory`` for those that are state dicts.
        trust_pickle: Allow code in the files to run.
        inputs: Input specs for those that do not record theirs.
        example_inputs: Arrays or tensors instead of ``inputs``.
        output_names: Names of the outputs for those that do not record theirs.
        compiled: Compare every PyTorch module and ``.pt2`` once more as ``torch.compile`` makes it.
        served: How URLs are asked: fields of `xport.serve.clients.address.Served`.
        least: How many there must be, those to compile included.

    Returns:
        The subjects, with names that are all different.

    Raises:
        UsageError: If there are too few, or one is missing, broken or not a model.
    """
    if len(given) + compiled < least:
        raise UsageError(
            "One artifact alone has nothing to be compared with.",
            "Name the reference and at least one other: xport validate model.pt model.onnx",
        )
    specs, names = tuple(inputs), tuple(output_names)
    sources = []
    for one in given:
        if isinstance(one, Source):
            sources.append(one)
            continue
        if is_url(one):
            sources.append(Source(Format.SERVED, None, None, served=parse_url(one, **(served or {}))))
            continue
        known: dict[str, Any] = {"trust_pickle": trust_pickle, "inputs": specs, "example_inputs": example_inputs}
        if _is_torch(one):
            known["output_names"] = names
        sources.append(open_source(one, arch=arch if _takes_arch(one) else None, **known))
    labels = _labels(sources)
    found = [Subject(label, s, _size(s), _sha256(s)) for label, s in zip(labels, sources, strict=True)]
    return [*found, *_compiled(found)] if compiled else found


def _compiled(subjects: Sequence[Subject]) -> list[Subject]:
    """The artifacts that PyTorch can compile, once more."""
    found = [
        replace(subject, name=f"{subject.name} (torch.compile)", compiled=True)
        for subject in subjects
        if subject.source.format in _COMPILABLE
    ]
    if not found:
        raise UsageError(
            "--compile: nothing here can be compiled; torch.compile takes PyTorch modules and .pt2 files.",
            "Leave it out, or name one of them.",
        )
    return found


def _takes_arch(given: Any) -> bool:
    if not isinstance(given, str | Path) or str(given).startswith("zoo:") or is_url(given):
        return False
    return detect(Path(given)) in _NEEDS_ARCH


def _is_torch(given: Any) -> bool:
    if not isinstance(given, str | Path) or str(given).startswith("zoo:"):
        return True
    return detect(Path(given)) in (*_NEEDS_ARCH, Content.TORCHSCRIPT, Content.EXPORTED)


def _labels(sources: Sequence[Source]) -> list[str]:
    """File names where they tell all apart, otherwise whole paths, numbered where one is named twice."""
    short = [source.path.name if source.path is not None else source.name for source in sources]
    if len(set(short)) < len(short):
        short = [source.name for source in sources]
    totals, seen = Counter(short), Counter[str]()
    labels = []
    for name in short:
        seen[name] += 1
        labels.append(f"{name} #{seen[name]}" if totals[name] > 1 else name)
    return labels


def _files(source: Source) -> list[Path]:
    path = source.path
    if path is None:
        return []
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if source.format is Format.ONNX:
        onnx_file.check_external_data(path)
        return [path, *(path.parent / name for name in onnx_file.external_files(path))]
    return [path]


def _size(source: Source) -> int | None:
    return None if source.path is None else sum(file.stat().st_size for file in _files(source))


def _sha256(source: Source) -> str:
    """The hash of a file's bytes; of several files, over their names and hashes."""
    digests = []
    for file in _files(source):
        with file.open("rb") as stream:
            digests.append((file.name, hashlib.file_digest(stream, "sha256").hexdigest()))
    if len(digests) <= 1:
        return digests[0][1] if digests else ""
    return hashlib.sha256(repr(digests).encode()).hexdigest()
