"""Looking for a Python that an engine runs on, where people keep them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from xport.convert.engines.table import Engine
from xport.errors import MissingRuntimeError, UsageError

_QUESTION = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
_SECONDS = 20


def find_python(engine: Engine, named: str | None = None) -> Path:
    """A Python that an engine runs on and that can make environments.

    Args:
        engine: The engine.
        named: The user's own choice: a path or a command.

    Returns:
        The interpreter.

    Raises:
        UsageError: If the user's own choice does not fit.
        MissingRuntimeError: If none is found; the message lists what was.
    """
    if named is not None:
        found = shutil.which(named)
        version = _version(Path(found)) if found else None
        if found is None or version is None or not _fits(version, engine):
            what = "is not a Python that can make environments" if version is None else f"is Python {_text(version)}"
            raise UsageError(f"{named} {what}; {engine.name} needs {engine.pythons}.", "Name another with --python.")
        return Path(found)
    seen: dict[str, tuple[int, int] | None] = {}
    for candidate in _candidates(engine):
        real = os.path.realpath(candidate)
        if real in seen:
            continue
        version = seen[real] = _version(candidate)
        if version is not None and _fits(version, engine):
            return candidate
    others = sorted({_text(version) for version in seen.values() if version is not None})
    raise MissingRuntimeError(
        f"{engine.name} needs {engine.pythons}, and none was found"
        + (f" (only {', '.join(others)})." if others else "."),
        f"Install one, for example with `uv python install {_text(engine.oldest)}`, or name one: "
        f"xport engines add {engine.name} --python /path/to/python{_text(engine.oldest)}",
    )


def _candidates(engine: Engine) -> Iterator[Path]:
    """Interpreters, likely ones first: this one, those in PATH, pyenv's, uv's."""
    yield Path(sys.executable)
    versions = [f"{engine.oldest[0]}.{minor}" for minor in range(engine.oldest[1], engine.newest[1] + 1)]
    for name in [*(f"python{version}" for version in versions), "python3"]:
        for place in os.environ.get("PATH", "").split(os.pathsep):
            path = Path(place or ".", name)
            if os.access(path, os.X_OK) and path.is_file():
                yield path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for version in versions:
        yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)
    if uv := shutil.which("uv"):
        for version in versions:
            if found := _ask([uv, "python", "find", "--no-python-downloads", version]):
                yield Path(found)


def _fits(version: tuple[int, int], engine: Engine) -> bool:
    return engine.oldest <= version <= engine.newest


def _version(python: Path) -> tuple[int, int] | None:
    """The version of an interpreter; None for what does not run or lacks what environments need (pyenv's shims)."""
    words = _ask([str(python), "-I", "-c", _QUESTION]).split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(word.isdigit() for word in words) else None


def _ask(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):  # it is no interpreter that could be used
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
