"""Is an artifact still the model that it was? Its golden inputs are run again and compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xport import proof
from xport.artifact import Proof
from xport.callable_module import make_callable
from xport.convert.source import open_source
from xport.errors import ParityError, UsageError
from xport.formats import Format
from xport.signature import Signature
from xport.validate.parity import judge_golden
from xport.validate.runners import open_runner
from xport.validate.verdicts import OutputVerdict
from xport.worker import Worker


@dataclass(frozen=True)
class VerifyReport:
    """What a replay found.

    Attributes:
        path: The artifact.
        format: How it is stored.
        signature: Its inputs and outputs.
        proof: Where it comes from.
        verdicts: One an output.
        cases: How many golden cases were run.
    """

    path: Path
    format: Format
    signature: Signature
    proof: Proof
    verdicts: tuple[OutputVerdict, ...]
    cases: int

    @property
    def passed(self) -> bool:
        """Whether every output is still the same within its rule."""
        return all(verdict.passed for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """A JSON form for machines."""
        return {
            "path": str(self.path),
            "format": self.format.value,
            "passed": self.passed,
            "cases": self.cases,
            "outputs": [verdict.to_json() for verdict in self.verdicts],
            "signature": self.signature.to_json(),
            "proof": self.proof.to_json(),
        }

    def check(self) -> None:
        """Raise if an output is not the same.

        Raises:
            ParityError: Naming the outputs that failed.
        """
        failed = [v for v in self.verdicts if not v.passed]
        if failed:
            raise ParityError(
                f"{self.path} no longer gives what it gave when it was made: "
                + " ".join(f"Output {v.output!r}: {v.reason}" for v in failed),
                "The file or a runtime was changed; `xport inspect` shows the versions it was made with.",
            )


def verify(
    path: str | Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    worker: Worker | None = None,
    trust_pickle: bool = False,
    verbose: bool = False,
) -> VerifyReport:
    """Run an artifact's golden inputs again and compare with the outputs of its source, which it carries.

    Args:
        path: The artifact.
        device: Where to run it.
        threads: How many threads the runtime may use.
        worker: A process to run in; by default one of its own.
        trust_pickle: Allow code in the artifact to run: PyTorch source is code, whatever its proof says.
        verbose: Let the process's messages through.

    Returns:
        The report; call its ``check`` to have a failure raised.

    Raises:
        UsageError: If the artifact carries no proof or no golden inputs.
        UnreadableModelError: If the artifact or its proof is broken.
        UntrustedCodeError: If opening the artifact would run code that it carries.
        WorkerError: If the runtime crashes.
    """
    source = open_source(path, trust_pickle=trust_pickle)
    where = Path(path)
    found = proof.read(where, source.format)
    if found is None:
        raise UsageError(
            f"{where} carries no proof: xport did not make it, or another tool rewrote it.",
            "Convert the source again with `xport convert SOURCE --to FORMAT`; what it writes carries one.",
        )
    signature, made, cases = found
    if not cases:
        raise UsageError(
            f"{where} carries no golden inputs: it was made without verification, or one case was too large.",
            "Convert it again with verification, or give smaller inputs with --inputs.",
        )
    with open_runner(source, device=device, threads=threads, worker=worker, verbose=verbose) as runner:
        actual = [runner.run(inputs) for inputs, _ in cases]
    verdicts = judge_golden([outputs for _, outputs in cases], actual, made.parity)
    return VerifyReport(where, source.format, signature, made, tuple(verdicts), len(cases))


make_callable(__name__, "xport.verify:verify")
