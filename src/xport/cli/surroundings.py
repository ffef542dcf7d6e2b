"""What a command line needs around it, made where it is missing: three standard streams, and names of files as text."""

from __future__ import annotations

import io
import os
import sys


def settle() -> None:
    """Make a process fit to run a command, however it was started.

    A stream that whoever started us has closed is opened on the null device: the next file opened would take its
    number, and receive what is printed. Characters that a stream's encoding lacks are printed as escapes.

    In a locale of another encoding than UTF-8 the process is started again in Python's UTF-8 mode (PEP 540), in which
    its children run, too: native libraries take names of files as UTF-8 and nothing else. What is printed keeps the
    locale's encoding.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _open_if_closed(number, name)
    if _must_restart():
        environment = {**os.environ, "PYTHONUTF8": "1"}
        environment.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_if_closed(number: int, name: str) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)
    if getattr(sys, name) is None:
        setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def _must_restart() -> bool:
    """Whether names of files are not UTF-8 here; never twice, and not where the environment is ignored."""
    if os.name != "posix" or sys.flags.ignore_environment or os.environ.get("PYTHONUTF8") == "1":
        return False
    return sys.getfilesystemencoding().lower() not in ("utf-8", "utf8")
