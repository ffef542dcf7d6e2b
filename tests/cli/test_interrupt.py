import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def children(pid):
    """The processes that descend from a process, dead ones left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        state, parent = text.rpartition(")")[2].split()[:2]
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def is_running(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see child processes")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_conversion_leaves_nothing(tiny, number, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "xport", "convert", str(tiny), "--to", "onnx", "-o", "out.onnx"],
        cwd=tiny.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job may have been started with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (list(tiny.parent.glob(".out.onnx.*")) and children(process.pid)) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = children(process.pid)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert out == ""
    assert list(tiny.parent.iterdir()) == [tiny]
    assert workers
    while any(is_running(pid) for pid in workers):  # one that was just starting ends when it finds its pipe closed
        assert time.monotonic() < deadline
        time.sleep(0.05)
