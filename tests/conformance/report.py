"""Runs the whole conformance suite and writes what it found: the figures, the exclusions, the operator table.

``make conformance`` prints one line a target and mode, and writes ``docs/operators.md`` and ``exclusions.tsv``.
Outcomes are stored as they come: run again after an interruption, it goes on where it stopped, until the code changes.
``--from FOLDER`` runs nothing and reports on what is stored there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import exclusions
from harness import MODES, TARGETS, Outcome, names
from outcomes import ROOT, Store, fingerprint, line
from results_page import REFERENCE, Results, page, summary
from sweep import sweep

STORED = ROOT / "build" / "conformance"
COMBINATIONS = [(REFERENCE, "runtime"), *((t, m) for t in TARGETS if t != REFERENCE for m in MODES)]


def applicable(outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    """Outcomes without the cases to which the mode does not apply."""
    return {name: outcome for name, outcome in outcomes.items() if outcome.status != "skip"}


def stored(store: Store) -> Results:
    """Every combination of which all cases are stored."""
    everything = names()
    found = {(target, mode): store.read(target, mode) for target, mode in COMBINATIONS}
    return {key: applicable(rows) for key, rows in found.items() if all(name in rows for name in everything)}


def run(store: Store, target: str, mode: str, jobs: int) -> None:
    """Run what is not stored yet of a combination, telling how far it is."""
    done = store.read(target, mode)
    left = [name for name in names() if name not in done]
    if not left:
        return
    start, count = time.monotonic(), len(done)
    with store.append(target, mode) as file:

        def tell(name: str, outcome: Outcome) -> None:
            nonlocal count
            file.write(line(name, outcome))
            count += 1
            if count % 50 == 0:
                seconds = time.monotonic() - start
                print(f"{target} {mode}: {count} of {len(done) + len(left)}, {seconds:.0f} s", file=sys.stderr)

        sweep(target, mode, left, jobs=jobs, tell=tell)


def broken(results: Results) -> list[str]:
    """What was silently wrong or broke: nothing excuses it."""
    return [
        f"{target} {mode} {name}: {outcome.status}: {' '.join(outcome.detail.split())[:200]}"
        for (target, mode), outcomes in results.items()
        for name, outcome in outcomes.items()
        if outcome.status in ("wrong", "failed") and target != REFERENCE
    ]


def write(results: Results, path: Path) -> None:
    """Write the operator table, and the exclusions beside the suite."""
    path.write_text(page(results))
    refused = (
        ((target, mode, name), exclusions.brief(outcome.detail))
        for (target, mode), outcomes in results.items()
        for name, outcome in outcomes.items()
        if outcome.status == "refused" and target != REFERENCE
    )
    exclusions.write(refused, results)


def main() -> None:
    """Run, print, write; exit 1 if anything is wrong or broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", nargs="*", choices=TARGETS, default=TARGETS)
    parser.add_argument("--modes", nargs="*", choices=MODES, default=MODES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--from", dest="folder", type=Path, metavar="FOLDER", help="report on stored outcomes, run none"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the operator table here, and the exclusions")
    arguments = parser.parse_args()
    store = Store(arguments.folder or STORED, None if arguments.folder else fingerprint())
    wanted = [(t, m) for t, m in COMBINATIONS if t == REFERENCE or (t in arguments.targets and m in arguments.modes)]
    reference: dict[str, Outcome] = {}
    for target, mode in wanted:
        if not arguments.folder:
            run(store, target, mode, arguments.jobs)
        outcomes = applicable(store.read(target, mode))
        reference = outcomes if target == REFERENCE else reference
        if outcomes:
            print(summary(target, mode, outcomes, reference), flush=True)
    results = stored(store)
    complaints = broken(results)
    print("\n".join(complaints))
    if arguments.write:
        write(results, arguments.write)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
