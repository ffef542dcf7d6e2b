import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xport.worker import Worker

PARENT = "from xport.worker import Worker; w = Worker(); print(w.pid, flush=True); w.call('time:sleep', 120)"


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see the worker")
def test_a_worker_at_work_ends_with_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(1)
    assert is_running(worker)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 60
    while is_running(worker):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    parent.stdout.close()


class StopError(BaseException):
    """What a signal's handler raises."""


def test_an_interruption_ends_the_worker_and_leaves_no_thread_to_wait_for() -> None:
    def stop(*_: object) -> None:
        raise StopError

    before = signal.signal(signal.SIGALRM, stop)
    worker = Worker()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(StopError):
            worker.call("time:sleep", 60, timeout=600)
        assert worker._process.returncode == -signal.SIGKILL
    finally:
        signal.signal(signal.SIGALRM, before)
        worker.kill()


def test_a_time_limit_keeps_no_process_from_ending() -> None:
    """An interruption may come before the limit's timer can be cancelled."""
    code = "import threading; threading.Timer.cancel = lambda timer: None; from xport.worker import Worker\n"
    code += "with Worker() as worker: worker.call('math:sqrt', 4.0, timeout=600)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
