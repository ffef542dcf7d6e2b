"""The worker's side of the server: it opens a model, replays its golden inputs, and runs batches."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from xport import posix
from xport.serve.embedded.card import ModelCard
from xport.serve.embedded.opened import OpenedModel, open_checked

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_opened: list[OpenedModel] = []


def open_model(path: Path, **settings: Any) -> ModelCard:
    """Open the model of this process; see `xport.serve.embedded.opened.open_checked`.

    Returns:
        What it is.
    """
    _live_and_die_with_the_server()
    _opened[:] = [open_checked(path, **settings)]
    return _opened[0].card


def run(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run one signature of the model that this process has opened."""
    return _opened[0].run(signature, inputs)


def _live_and_die_with_the_server() -> None:
    """Only the server ends this process: a service manager's SIGTERM to the whole group must not cut requests off."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # other C libraries; the closed pipe ends us there
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, posix.KILL)
