"""What only some systems have is used in one place, and what is imported at the start imports without it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOME = ROOT / "src/xport/posix.py"
MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
NAMES = {
    "os": "fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpriority getresuid getsid getuid killpg "
    " lchown mkfifo mknod nice pidfd_open posix_spawn pread pwrite sched_getaffinity sched_setaffinity "
    "sendfile setpgid setsid setuid splice statvfs uname wait wait3 wait4 waitid waitpid WIFEXITED",
    "signal": "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 alarm pause pthread_kill "
    "pthread_sigmask setitimer sigwait",
    "socket": "AF_UNIX SO_REUSEPORT",
    "select": "epoll kqueue poll",
    "loop": "add_signal_handler remove_signal_handler add_reader remove_reader add_writer",
}
KNOWN = {
    ("serve/embedded/process.py", "loop.add_reader"): "behind posix.check",
    ("serve/embedded/process.py", "loop.remove_reader"): "behind posix.check",
    ("validate/matrix/surroundings.py", "os.getloadavg"): "asked for by hasattr",
}
"""Uses outside of the one place, with the reason why they do no harm elsewhere."""


def modules() -> list[Path]:
    areas = ("src/xport", "convert", "models", "serve", "validate")
    found = {path.resolve() for area in areas for path in (ROOT / area).rglob("*.py")}
    return sorted(found - {HOME})


def uses(tree: ast.AST) -> Iterator[str]:
    """Names of POSIX's own that a module imports or reads from a module of that name."""
    own = {f"{module}.{name}" for module, names in NAMES.items() for name in names.split()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in MODULES:
                yield node.module
            yield from (name for alias in node.names if (name := f"{node.module}.{alias.name}") in own)
        elif isinstance(node, ast.Attribute):
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            if f"{of}.{node.attr}" in own or f"loop.{node.attr}" in own:
                yield f"{of or 'loop'}.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg in ("preexec_fn", "pass_fds"):
            yield node.arg


@pytest.mark.parametrize(
    "line",
    [
        "import fcntl",
        "from os import killpg",
        "from signal import SIGALRM",
        "os.killpg(1, 2)",
        "x = signal.SIGKILL",
        "a.b().add_signal_handler(1, f)",
        "Popen(c, preexec_fn=f)",
    ],
)
def test_the_search_finds(line: str) -> None:
    assert list(uses(ast.parse(line)))


def test_what_only_posix_has_is_in_one_place() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), use) for path in modules() for use in uses(ast.parse(path.read_bytes()))
    }
    assert found == set(KNOWN), "move it to src/xport/posix.py, with what happens elsewhere; or name it in KNOWN"


def test_files_of_one_system_are_read_where_they_may_be_missing() -> None:
    """Every mention of /proc or /sys stands behind a test for the file, or in a block that lets its absence pass."""
    guard = re.compile(r"suppress\(OSError|is_file\(\)|glob\(|^\s*except OSError", re.MULTILINE)
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if re.search(r"""Path\(f?["']/(proc|sys)\b|open\(f?["']/(proc|sys)\b""", text):
            assert guard.search(text), path


def test_all_of_it_imports_on_a_system_without_posix() -> None:
    """Stands in for Windows: its platform's name, and none of the modules and functions that it lacks."""
    code = f"""
import asyncio, ctypes, multiprocessing, os, pathlib, platform, shutil, signal, socket, subprocess, sys
import tempfile, threading
import aiohttp.web, click, grpc.aio, jinja2, ml_dtypes, numpy, onnx, onnx_ir, orjson, prometheus_client, rich.console
for module, names in { ({"os": NAMES["os"], "signal": NAMES["signal"]})!r}.items():
    for name in names.split():
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
for name in {MODULES!r}:
    sys.modules[name] = None
sys.platform = "win32"
import xport, xport.cli.commands, xport.convert.api, xport.convert.engines.running, xport.convert.many.carry_out
import xport.serve.embedded.server, xport.serve.launching.process, xport.validate.matrix.run, xport.validate.bisection
import xport.convert.quantizing, xport.worker, xport.verify
from xport import posix
from xport.convert import leftovers
assert posix.KILL == signal.SIGTERM and posix.processors() >= 1 and not posix.group_is_alive(1)
assert leftovers.hold(pathlib.Path.cwd()) is None
with tempfile.TemporaryFile(buffering=0) as file:
    file.write(b"words")
    assert posix.read_whole(file.fileno()) == b"words" and file.tell() == 5
try:
    posix.lock(0, wait=True)
except xport.UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Linux and macOS only" in done.stdout
