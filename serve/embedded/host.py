"""The worker's side of the server: it opens a model, replays its golden inputs, and runs batches."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xport import proof
from xport.convert.source import Source, open_source
from xport.errors import ParityError, UnsupportedError, UsageError, XportWarning
from xport.formats import Format
from xport.golden import Case
from xport.serve.embedded.batchable import why_alone
from xport.serve.embedded.card import DEFAULT_SIGNATURE, PREDICT_METHOD, Endpoint, ModelCard
from xport.signature import TensorSpec
from xport.validate.parity import judge_golden
from xport.validate.runners import Runner, new_runner

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_runners: dict[str, Runner] = {}


def open_model(
    path: Path,
    *,
    inputs: Sequence[TensorSpec] = (),
    device: str = "cpu",
    threads: int | None = None,
    batching: bool = True,
    require_proof: bool = False,
) -> ModelCard:
    """Open every signature of a model and check that it still gives what it gave when it was made.

    Args:
        path: The artifact.
        inputs: Its inputs, if it does not record them.
        device: Where to run it.
        threads: How many threads the runtime may use.
        batching: Whether requests are to be run together, so that it must be known if they can be.
        require_proof: Refuse a model without golden inputs.

    Returns:
        What it is.

    Raises:
        ParityError: If a golden output differs.
        UsageError: If the model cannot be read, or has no proof where one is required.
    """
    _live_and_die_with_the_server()
    source = open_source(path, inputs=tuple(inputs))
    found = proof.read(path, source.format)
    cases = found[2] if found else []
    if require_proof and not cases:
        raise UsageError(
            f"{path} carries no golden inputs, and --require-proof refuses such models.",
            "Convert it with `xport convert SOURCE --to FORMAT`; what it writes carries them.",
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", XportWarning)
        methods = _open_signatures(source, device, threads)
    told = [str(w.message) for w in caught if issubclass(w.category, XportWarning)]
    default = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in _runners else next(iter(_runners))
    if found and cases:
        _replay(path, _runners[default], cases, found[1].parity)
    endpoints = {}
    for name, runner in _runners.items():
        reason = why_alone(runner, cases if name == default else []) if batching else "batching is off"
        endpoints[name] = Endpoint(runner.signature, methods[name], not reason, reason)
    origin = found[1].source.get("name", "") if found else ""
    return ModelCard(source.format.value, endpoints, len(cases), origin, tuple(told))


def run(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run one signature of the model that this process has opened."""
    return _runners[signature].run(inputs)


def _open_signatures(source: Source, device: str, threads: int | None) -> dict[str, str]:
    """Fill `_runners`; return the method by signature. What is not the default may be left out, with a warning."""
    from dataclasses import replace

    if source.format is not Format.SAVEDMODEL:
        _runners[DEFAULT_SIGNATURE] = new_runner(source, device=device, threads=threads)
        return {DEFAULT_SIGNATURE: PREDICT_METHOD}
    from xport.convert.savedmodel_signature import meta_graph, usable

    definitions = meta_graph(source.path or Path()).signature_def
    names = usable(definitions)
    for name in names:
        try:
            _runners[name] = new_runner(replace(source, signature_name=name), device=device, threads=threads)
        except UnsupportedError as error:
            if name == DEFAULT_SIGNATURE or len(names) == 1:
                raise
            warnings.warn(XportWarning(f"Signature {name!r} is not served: {error.message}"), stacklevel=2)
    if not _runners:
        raise UsageError(f"{source.path} has no signature that can be served.", "Save it with signatures=….")
    return {name: definitions[name].method_name or PREDICT_METHOD for name in _runners}


def _replay(path: Path, runner: Runner, cases: Sequence[Case], parity: Sequence[dict[str, object]]) -> None:
    verdicts = judge_golden([outputs for _, outputs in cases], [runner.run(inputs) for inputs, _ in cases], parity)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        raise ParityError(
            f"{path} no longer gives what it gave when it was made: "
            + " ".join(f"Output {v.output!r}: {v.reason}" for v in failed),
            f"It is not served. `xport verify {path}` shows the figures.",
        )


def _live_and_die_with_the_server() -> None:
    """Only the server ends this process: a service manager's SIGTERM to the whole group must not cut requests off."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # other C libraries; the closed pipe ends us there
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
