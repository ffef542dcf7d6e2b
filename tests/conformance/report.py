"""Runs the whole conformance suite and writes what it found: the figures, the exclusions, the operator table.

``make conformance`` prints one line a target and mode, and writes ``docs/operators.md`` and ``exclusions.tsv``.
"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import exclusions
import onnx
from harness import MODES, TARGETS, Outcome, load, names
from sweep import sweep

Results = dict[tuple[str, str], dict[str, Outcome]]
REFERENCE = "onnxruntime"


def run(targets: list[str], modes: list[str], jobs: int) -> Results:
    """Run every combination, telling how far it is."""
    results: Results = {}
    for target in targets:
        for mode in modes if target != REFERENCE else ["runtime"]:
            show = lambda n, t=target, m=mode: print(f"\r{t} {m}: {n}", end="", file=sys.stderr)  # noqa: E731
            results[target, mode] = sweep(target, mode, jobs=jobs, tell=show)
            print("\r", end="", file=sys.stderr)
            print(summary(target, mode, results[target, mode], results.get((REFERENCE, "runtime"))), flush=True)
    return results


def summary(target: str, mode: str, outcomes: dict[str, Outcome], reference: dict[str, Outcome] | None) -> str:
    """One line of figures."""
    count = collections.Counter(outcome.status for outcome in outcomes.values())
    text = f"{target:12s} {mode:9s} {len(outcomes):5d} cases: {count['pass']:5d} pass, {count['refused']:4d} refused, "
    text += f"{count['failed']} failed, {count['wrong']} wrong"
    if reference and target != REFERENCE:
        able = {name for name, outcome in reference.items() if outcome.status == "pass"}
        both = sum(outcomes[name].status == "pass" for name in outcomes if name in able)
        text += f"; {both} of the {sum(n in able for n in outcomes)} that ONNX Runtime passes"
    return text


def operator_of(name: str) -> str:
    """The operator a case is about: the first node that its model has, functions' cases named so."""
    model = load(name).model
    node = model.graph.node[0].op_type
    return f"{node} (expanded)" if name.endswith("_expanded") or "_expanded_" in name else node


def table(results: Results) -> str:
    """``docs/operators.md``: operators by target, and the reasons of refusals."""
    targets = [target for target in TARGETS if target != REFERENCE and (target, "runtime") in results]
    per: dict[str, dict[str, collections.Counter[str]]] = collections.defaultdict(
        lambda: collections.defaultdict(collections.Counter)
    )
    reasons: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for name in names():
        operator = operator_of(name)
        if operator.endswith("(expanded)"):
            continue
        for target in targets:
            outcome = results[target, "runtime"].get(name)
            if outcome is None:
                continue
            per[operator][target][outcome.status] += 1
            if outcome.status != "pass":
                reasons[operator, target][exclusions.brief(outcome.detail)] += 1
    lines = ["# Operators", "", _HEAD, "", "## Figures", "", "```"]
    reference = results.get((REFERENCE, "runtime"))
    lines += [summary(t, m, outcomes, reference) for (t, m), outcomes in results.items()]
    lines += ["```", "", "## Support", "", "| operator | opsets | " + " | ".join(targets) + " |"]
    lines += ["|---|---|" + "---|" * len(targets)]
    for operator in sorted(per):
        cells = [_cell(per[operator][target]) for target in targets]
        lines.append(f"| {operator} | {_opsets(operator)} | " + " | ".join(cells) + " |")
    lines += ["", "## Refusals", ""]
    for (operator, target), why in sorted(reasons.items()):
        lines += [f"* **{operator}**, {target}: {reason} ({count})" for reason, count in why.most_common()]
    return "\n".join(lines) + "\n"


_HEAD = """Made by `make conformance` from the ONNX project's own backend node tests; not typed by hand. A cell is
passing / all cases with run-time inputs. What does not pass is refused with the reason below, before anything is
written: a wrong number would be counted, and there are none. Operators that are functions with bodies are inlined where
no handler is better; their `_expanded` cases count in the figures."""


def _cell(count: collections.Counter[str]) -> str:
    total = sum(count.values())
    if not total:
        return "-"
    text = f"{count['pass']} / {total}"
    bad = count["wrong"] + count["failed"]
    return text + (f" ({bad} broken)" if bad else "")


def _opsets(operator: str) -> str:
    versions = [s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == operator]
    return f"{max(7, min(versions))}-{onnx.defs.onnx_opset_version()}" if versions else "-"


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", nargs="*", default=[REFERENCE, *(t for t in TARGETS if t != REFERENCE)])
    parser.add_argument("--modes", nargs="*", default=list(MODES))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--write", type=Path, help="the operator table to write; exclusions are written beside the suite"
    )
    arguments = parser.parse_args()
    results = run(arguments.targets, arguments.modes, arguments.jobs)
    broken = [
        f"{target} {mode} {name}: {outcome.status}: {' '.join(outcome.detail.split())[:200]}"
        for (target, mode), outcomes in results.items()
        for name, outcome in outcomes.items()
        if outcome.status in ("wrong", "failed") and target != REFERENCE
    ]
    print("\n".join(broken))
    if arguments.write:
        arguments.write.write_text(table(results))
        exclusions.write(
            ((target, mode, name), exclusions.brief(outcome.detail))
            for (target, mode), outcomes in results.items()
            for name, outcome in outcomes.items()
            if outcome.status == "refused" and target != REFERENCE
        )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
