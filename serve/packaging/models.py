"""Models on their way into a bundle: copied or converted, replayed, and refused where nothing is proven."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xport import onnx_file, proof
from xport.artifact import Proof
from xport.convert.api import convert, read_signature
from xport.convert.source import ZOO_PREFIX, Source, open_source
from xport.convert.staging import is_full
from xport.convert.workers import Workers
from xport.errors import DestinationError, UsageError
from xport.formats import Format
from xport.golden import Case
from xport.serve.engines import Engine
from xport.serve.packaging.batching import why_not_batched
from xport.serve.packaging.bundle import MODELS, Packed
from xport.signature import Signature
from xport.verify import verify
from xport.worker import Worker, running

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_GIVEN_NAME = re.compile(r"([A-Za-z0-9_.-]+)=(.+)")


@dataclass(frozen=True)
class Wanted:
    """A model that shall be packaged.

    Attributes:
        name: What requests will call it.
        version: Its number.
        source: A path or a ``zoo:`` name.
    """

    name: str
    version: int
    source: str


@dataclass(frozen=True)
class Intake:
    """The rules by which models come in.

    Attributes:
        engine: What they are packaged for.
        allow_unverified: Whether unproven models are let in.
        opening: How to open sources.
        tell: Told in a few words what begins.
        verbose: Whether the frameworks' messages are wanted.
    """

    engine: Engine
    allow_unverified: bool
    opening: Mapping[str, Any]
    tell: Callable[[str], None]
    verbose: bool


def parse_models(models: Sequence[str | Path], version: int) -> list[Wanted]:
    """Names, versions and places of what a user typed.

    Args:
        models: Paths or ``zoo:`` names, optionally as ``NAME=PATH``.
        version: The number of models that do not bring one.

    Returns:
        One entry a version of a model.

    Raises:
        UsageError: If a name cannot be part of a URL, or two models have the same one.
    """
    if version < 1:
        raise UsageError(f"A version is a number from 1, got {version}.", "Leave --model-version out, or write 1.")
    wanted: list[Wanted] = []
    for text in map(str, models):
        given = None if Path(text).exists() else _GIVEN_NAME.fullmatch(text)
        source = given[2] if given else text
        name = given[1] if given else _default_name(source)
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be a model's name: letters, digits, '_', '.' and '-' can, up to 100 of them.",
                f"Give it another: xport package NAME='{source}' …",
            )
        folders = _version_folders(Path(source))
        wanted += [Wanted(name, number, str(folder)) for number, folder in folders] or [Wanted(name, version, source)]
    _check_unique(wanted)
    return wanted


def _default_name(source: str) -> str:
    if source.startswith(ZOO_PREFIX):
        return source.removeprefix(ZOO_PREFIX).partition("@")[0]
    path = Path(source)
    path = path.absolute() if path.name in ("", "..") else path
    if path.is_dir():
        return path.parent.absolute().name if path.name.isdigit() else path.name
    return path.stem


def _version_folders(path: Path) -> list[tuple[int, Path]]:
    """The numbered SavedModels in a folder, as TF Serving wants them."""
    if not path.is_dir() or (path / "saved_model.pb").exists():
        return []
    return sorted((int(p.name), p) for p in path.iterdir() if p.name.isdigit() and (p / "saved_model.pb").is_file())


def _check_unique(wanted: Sequence[Wanted]) -> None:
    seen: dict[tuple[str, int], str] = {}
    for item in wanted:
        # Where folders ignore case, so would the bundle.
        key = (item.name.lower(), item.version)
        if key in seen:
            raise UsageError(
                f"{seen[key]} and {item.source} would both be version {item.version} of {item.name!r}.",
                f"Name one of them: xport package {item.name}-b='{item.source}' …",
            )
        seen[key] = item.source


def pack(intake: Intake, wanted: Wanted, folder: Path) -> Packed:
    """Bring one model into a bundle.

    Args:
        intake: The rules.
        wanted: The model.
        folder: The bundle that is being made.

    Returns:
        What is in the bundle now.

    Raises:
        UsageError: If the model cannot be read, or is not proven.
        ConversionError: If it cannot be converted to what the engine serves.
        ParityError: If its numbers moved.
    """
    source = open_source(wanted.source, **intake.opening)
    target = intake.engine.target_for(source.format)
    place = folder / MODELS / wanted.name / str(wanted.version)
    path = place if target is Format.SAVEDMODEL else place / f"model{target.suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.format is target:
        _copy(source, path)
    else:
        intake.tell(f"converting {source.name} to {target.value}")
        convert(wanted.source, target, path, **intake.opening, progress=intake.tell, verbose=intake.verbose)
    with running(verbose=intake.verbose) as worker:
        signature, made, cases = _prove(intake, source, path, target, worker)
        intake.tell(f"trying whether requests to {wanted.name} can be joined")
        batching = why_not_batched(path, signature, cases, made, worker)
    return Packed(wanted.name, wanted.version, path, target, signature, made, tuple(cases), batching)


def _copy(source: Source, path: Path) -> None:
    """Copy a model with everything that belongs to it."""
    if source.path is None:
        raise UsageError(f"{source.name} is not a file.", "Save or convert it first.")
    try:
        if source.path.is_dir():
            shutil.copytree(source.path, path)
            return
        shutil.copyfile(source.path, path)
        if source.format is Format.ONNX:
            onnx_file.check_external_data(source.path)
            for location in onnx_file.external_files(source.path):
                (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.path.parent / location, path.parent / location)
    except (OSError, shutil.Error) as error:
        if is_full(path.parent, error):
            raise  # whoever knows the bundle's name will tell
        raise DestinationError(f"{source.name} cannot be copied: {error}", "Check permissions and space.") from error


def _prove(
    intake: Intake, source: Source, path: Path, target: Format, worker: Worker
) -> tuple[Signature, Proof | None, list[Case]]:
    """Replay the golden inputs on the packaged files; refuse what carries none."""
    found = proof.read(path, target)
    if found is not None and found[1].verified and found[2]:
        intake.tell(f"replaying the golden inputs of {source.name}")
        report = verify(path, worker=worker, verbose=intake.verbose)
        replace(report, path=source.path or path).check()  # an error names the model that the user named
        return found
    if not intake.allow_unverified:
        raise UsageError(f"{source.name} {_lack(found)}", _cure(source))
    if found is not None:
        return found
    with Workers(verbose=intake.verbose) as workers:
        return read_signature(source, workers), None, []


def _lack(found: tuple[Signature, Proof, list[Case]] | None) -> str:
    if found is None:
        return "carries no proof: xport did not make it, or another tool rewrote it."
    if not found[1].verified:
        return "was converted with --no-verify: nothing is known about its numbers."
    return "carries no golden inputs, so that nobody can see whether its numbers moved."


def _cure(source: Source) -> str:
    again = f"xport convert SOURCE --to {source.format.value}"
    if source.format is Format.ONNX:
        again = f"xport convert {source.name} --to onnx -o proven.onnx"
    return f"Prove it: {again}\nTo package it as it is, unproven, add --allow-unverified."
