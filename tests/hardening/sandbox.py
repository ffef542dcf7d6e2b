"""Surroundings that a test takes something away from: the network, room on the disk, a home, a terminal."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
XPORT = (sys.executable, "-P", "-m", "xport")
SECONDS = 240
"""How long a command may take on a machine with much else to do."""


def run(*arguments: object, before: Sequence[str] = (), **settings: Any) -> subprocess.CompletedProcess[bytes]:
    """Run ``xport`` and wait for it.

    Args:
        *arguments: What follows ``xport``.
        before: A command that runs it.
        **settings: Of `subprocess.run`.
    """
    settings = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": SECONDS, **settings}
    return subprocess.run([*before, *XPORT, *map(os.fspath, map(_text, arguments))], check=False, **settings)


def _text(argument: object) -> Any:
    return argument if isinstance(argument, (bytes, Path)) else str(argument)


def passed(done: subprocess.CompletedProcess[bytes]) -> str:
    """What a command that has to succeed printed."""
    words = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, words
    assert "Traceback" not in words, words
    return words


def refused(done: subprocess.CompletedProcess[bytes], *codes: int) -> str:
    """What a command said that has to fail, by an error of ours."""
    words = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode in codes, words
    assert "Traceback" not in words, words
    assert "bug in xport" not in words, words
    return words


def without(*names: str, **more: str) -> dict[str, str]:
    """This environment without some of its variables, and with others."""
    return {name: value for name, value in os.environ.items() if name not in names} | more


@functools.cache
def may_unshare(*flags: str) -> bool:
    """Whether this system lets us make namespaces: as root on Linux, mostly."""
    program = shutil.which("unshare")
    if program is None:
        return False
    return subprocess.run([program, *flags, "true"], capture_output=True, check=False).returncode == 0


def small_disk(
    place: Path,
    size: str,
    *,
    read_only: bool = False,
    prepare: str = "true",
    last: Path = Path("/"),
    twice_after: str = "",
) -> list[str]:
    """What runs a command that finds a small empty disk at a place; other processes see nothing of it.

    Args:
        place: A folder.
        size: As ``mount -o size=`` takes it.
        read_only: Let nothing be written after the preparation.
        prepare: A shell command that runs on the disk first.
        last: The folder that the command then works in.
        twice_after: A shell command after which the same runs again; the first exit code is told as ``FIRST n``.

    Returns:
        The beginning of a command line; after the command, the disk's files are listed on stdout below ``LEFT``.
    """
    disk = shlex.quote(str(place))
    script = f"mount -t tmpfs -o size={size} none {disk} && cd {disk} && {prepare} && cd / && "
    script += f"mount -o remount,ro {disk} && " if read_only else ""
    again = f'echo FIRST $?; cd {disk}; {twice_after}; cd - >/dev/null; "$@"; ' if twice_after else ""
    script += f'cd {shlex.quote(str(last))} && "$@"; {again}code=$?; echo LEFT; '
    script += f"cd {disk} && find . -type f -o -type l | sort; sha256sum kept.* 2>/dev/null; "
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", script + "exit $code", "sh"]


def left(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """The files that a command on a small disk left there."""
    return done.stdout.decode(errors="replace").partition("LEFT\n")[2].splitlines()


def descendants(pid: int) -> dict[int, str]:
    """The living processes below one, with the time of their start, which tells them from later ones of the number."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _stat(int(entry.name))) is not None:
            parents[int(entry.name)] = found
    wanted, below = {pid}, {}
    while True:
        more = {p: start for p, (parent, start) in parents.items() if parent in wanted and p not in below}
        if not more:
            return below
        below |= more
        wanted |= set(more)


def _stat(pid: int) -> tuple[int, str] | None:
    """Parent and time of start; None if it is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (int(fields[1]), fields[19])


def alive(processes: Mapping[int, str]) -> set[int]:
    """Those of the processes that still live."""
    return {pid for pid, start in processes.items() if (found := _stat(pid)) is not None and found[1] == start}


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until something is so; what it last was."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@contextmanager
def started(*arguments: object, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A running ``xport``, ended at the latest when the block is left, with its children."""
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    process = subprocess.Popen(
        [*XPORT, *map(str, arguments)],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job inherits that it is ignored
        **settings,
    )
    below: dict[int, str] = {}
    try:
        yield process
    finally:
        below = descendants(process.pid)
        process.kill()
        process.communicate()
        for pid in alive(below):
            os.kill(pid, signal.SIGKILL)
