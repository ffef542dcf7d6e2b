"""The environments of engines: made on request by venv and pip, whole or not at all, removed on request.

An environment counts once its card is written, which is the last thing that happens; whatever lies there without one
was cut off and is cleared away by the next `add`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from xport import posix
from xport.convert.engines.pythons import find_python
from xport.convert.engines.table import ENGINES, Engine, find
from xport.errors import DestinationError, MissingRuntimeError, UsageError

CARD = "xport-engine.json"
"""The file that says that an environment is whole, and what it holds."""

_TAIL = 15
Tell = Callable[[str], None]


def folder() -> Path:
    """Where environments lie: ``$XPORT_ENGINES``, or ``xport/engines`` in the user's data folder."""
    if own := os.environ.get("XPORT_ENGINES"):
        return Path(own).absolute()
    # https://specifications.freedesktop.org/basedir-spec: a relative path there is to be ignored
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share") / "xport" / "engines"


def card(name: str) -> dict[str, Any] | None:
    """What the environment of an engine holds; None if there is none, or none that is whole."""
    try:
        found = json.loads((folder() / name / CARD).read_bytes())
    except (OSError, ValueError):  # ValueError: a card that was cut off
        return None
    return found if isinstance(found, dict) else None


def is_ready(name: str) -> bool:
    """Whether an engine is installed, in the versions of the table."""
    found = card(name)
    return found is not None and name in ENGINES and found.get("requirements") == list(ENGINES[name].requirements)


def python(name: str) -> Path:
    """The interpreter of an engine's environment.

    Raises:
        MissingRuntimeError: If the engine is not installed.
    """
    if not is_ready(name):
        raise MissingRuntimeError(f"The engine {name} is not installed.", add_command(name))
    return _interpreter(folder() / name)


def add_command(name: str) -> str:
    """The command that installs an engine."""
    return f"xport engines add {name}"


def add(name: str, *, interpreter: str | None = None, tell: Tell | None = None) -> dict[str, Any]:
    """Make the environment of an engine.

    Args:
        name: The engine.
        interpreter: The Python to make it with; by default one is looked for.
        tell: Told in a few words what begins.

    Returns:
        Its card: requirements, Python and versions.

    Raises:
        UsageError: If there is no such engine, or it is installed already.
        MissingRuntimeError: If no fitting Python is found, or pip fails; the message has the end of its log.
        DestinationError: If the environment cannot be written.
    """
    engine = find(name)
    say = tell or (lambda _: None)
    if is_ready(name):
        raise UsageError(f"{name} is installed already, in {folder() / name}.", f"xport engines remove {name}")
    base = find_python(engine, interpreter)
    with _locked(name) as place:
        if is_ready(name):  # another process made it while this one waited
            return card(name) or {}
        _clear(place)
        try:
            return _make(engine, base, place, say)
        except OSError as error:
            _clear(place)
            raise DestinationError(
                f"{place} cannot be written: {error.strerror or error}.", "Choose another folder with XPORT_ENGINES."
            ) from error
        except BaseException:
            _clear(place)
            raise


def remove(name: str) -> Path:
    """Remove the environment of an engine; one of an earlier version of xport or a half-made one, too.

    Returns:
        Where it was.

    Raises:
        UsageError: If there is none.
    """
    if name not in ENGINES and card(name) is None:
        find(name)
    if not (folder() / name).exists():
        raise UsageError(f"{name} is not installed.", add_command(name))
    with _locked(name) as place:
        _clear(place)
    return place


def _make(engine: Engine, base: Path, place: Path, say: Tell) -> dict[str, Any]:
    with tempfile.TemporaryFile() as log:
        say(f"making an environment with {base}")
        _run([str(base), "-I", "-m", "venv", str(place)], log, "venv", engine)
        own = [str(_interpreter(place)), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
        say(f"pip install {' '.join(engine.requirements)}")
        _run([*own, "install", *engine.requirements], log, "pip", engine)
    listed = subprocess.run([*own, "list", "--format=json"], capture_output=True, text=True, check=True).stdout
    written = {
        "engine": engine.name,
        "requirements": list(engine.requirements),
        "python": str(base),
        "versions": {entry["name"]: entry["version"] for entry in json.loads(listed)},
    }
    fresh = place / f"{CARD}.new"
    fresh.write_text(json.dumps(written, indent=1), encoding="utf-8")
    os.replace(fresh, place / CARD)
    return written


def _run(command: list[str], log: IO[bytes], what: str, engine: Engine) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode == 0:
        return
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()[-_TAIL:]
    raise MissingRuntimeError(
        f"The environment of {engine.name} could not be made: {what} exited with code {done.returncode}. "
        "Its last words:\n" + "\n".join(f"  {line}" for line in lines),
        f"Correct what it names (network, disk, Python), and try again: {add_command(engine.name)}",
    )


def _interpreter(place: Path) -> Path:
    return place / "bin" / "python"


def _clear(place: Path) -> None:
    """Remove an environment; its card first, so that what is half removed never counts."""
    (place / CARD).unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _locked(name: str) -> Iterator[Path]:
    """Keep other processes from the same environment."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        file = (folder() / f".{name}.lock").open("a")
    except OSError as error:
        raise DestinationError(
            f"{folder()} cannot be written: {error.strerror or error}.", "Choose another folder with XPORT_ENGINES."
        ) from error
    with file:
        posix.lock(file, wait=True)
        yield folder() / name
