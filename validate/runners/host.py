"""The worker's side of `xport.validate.runners.isolated`: runners by number."""

from __future__ import annotations

import itertools
import warnings

import numpy as np

from xport.convert.source import Source
from xport.errors import XportWarning
from xport.signature import Signature
from xport.validate.runners import Runner, new_runner

_runners: dict[int, Runner] = {}
_numbers = itertools.count()


def open_here(source: Source, *, device: str, threads: int | None) -> tuple[int, Signature, list[str]]:
    """Open a runner in this process.

    Returns:
        Its number, the model's signature, and the warnings that its user should see.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", XportWarning)
        runner, number = new_runner(source, device=device, threads=threads), next(_numbers)
    _runners[number] = runner
    ours = [str(w.message) for w in caught if issubclass(w.category, XportWarning)]
    return number, runner.signature, ours


def get_here(number: int) -> Runner:
    """The runner with a number."""
    return _runners[number]


def run_here(number: int, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run the runner with a number."""
    return _runners[number].run(inputs)


def close_here(number: int) -> None:
    """Close the runner with a number."""
    _runners.pop(number).close()
