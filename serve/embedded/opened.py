"""A model that was opened and checked, whatever process it is in."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class OpenedModel:
    """Every signature of a model, ready to run.

    Attributes:
        card: What it is.
        runners: By signature.
    """

    card: ModelCard
    runners: Mapping[str, Runner]

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one signature."""
        return self.runners[signature].run(inputs)


def open_checked(
    path: Path,
    *,
    inputs: Sequence[TensorSpec] = (),
    device: str = "cpu",
    threads: int | None = None,
    batching: bool = True,
    require_proof: bool = False,
) -> OpenedModel:
    """Open every signature of a model and check that it still gives what it gave when it was made.

    Args:
        path: The artifact.
        inputs: Its inputs, if it does not record them.
        device: Where to run it.
        threads: How many threads the runtime may use.
        batching: Whether requests are to be run together, so that it must be known if they can be.
        require_proof: Refuse a model without golden inputs.

    Returns:
        The model.

    Raises:
        ParityError: If a golden output differs.
        UsageError: If the model cannot be read, or has no proof where one is required.
    """
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
        runners, methods = _open_signatures(source, device, threads)
    told = [str(w.message) for w in caught if issubclass(w.category, XportWarning)]
    default = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in runners else next(iter(runners))
    if found and cases:
        _replay(path, runners[default], cases, found[1].parity)
    endpoints = {}
    for name, runner in runners.items():
        reason = why_alone(runner, cases if name == default else []) if batching else "batching is off"
        endpoints[name] = Endpoint(runner.signature, methods[name], not reason, reason)
    origin = found[1].source.get("name", "") if found else ""
    return OpenedModel(ModelCard(source.format.value, endpoints, len(cases), origin, tuple(told)), runners)


def _open_signatures(source: Source, device: str, threads: int | None) -> tuple[dict[str, Runner], dict[str, str]]:
    """Runner and method by signature. What is not the default may be left out, with a warning."""
    if source.format is not Format.SAVEDMODEL:
        return {DEFAULT_SIGNATURE: new_runner(source, device=device, threads=threads)}, {
            DEFAULT_SIGNATURE: PREDICT_METHOD
        }
    from xport.convert.savedmodel_signature import meta_graph, usable

    definitions = meta_graph(source.path or Path()).signature_def
    names = usable(definitions)
    runners: dict[str, Runner] = {}
    for name in names:
        try:
            runners[name] = new_runner(replace(source, signature_name=name), device=device, threads=threads)
        except UnsupportedError as error:
            if name == DEFAULT_SIGNATURE or len(names) == 1:
                raise
            warnings.warn(XportWarning(f"Signature {name!r} is not served: {error.message}"), stacklevel=2)
    if not runners:
        raise UsageError(f"{source.path} has no signature that can be served.", "Save it with signatures=….")
    return runners, {name: definitions[name].method_name or PREDICT_METHOD for name in runners}


def _replay(path: Path, runner: Runner, cases: Sequence[Case], parity: Sequence[dict[str, object]]) -> None:
    verdicts = judge_golden([outputs for _, outputs in cases], [runner.run(inputs) for inputs, _ in cases], parity)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        raise ParityError(
            f"{path} no longer gives what it gave when it was made: "
            + " ".join(f"Output {v.output!r}: {v.reason}" for v in failed),
            f"It is not served. `xport verify {path}` shows the figures.",
        )
