"""The page ``docs/operators.md``, and the lines of figures, from the suite's outcomes."""

from __future__ import annotations

import collections

import exclusions
import onnx
from harness import MODES, TARGETS, Outcome, load, names

Results = dict[tuple[str, str], dict[str, Outcome]]
REFERENCE = "onnxruntime"

HEAD = """Made by `make conformance` from the ONNX project's own backend node tests; not typed by hand. What does not
pass is refused with the reason below, before anything is written: a wrong number would be counted, and there are none.
Operators that are functions with bodies are inlined where no handler is better; their `_expanded` cases count in the
figures.

The modes: *runtime*, all inputs are given when the model runs; *constant*, all but the first are part of the model (of
cases with two inputs or more); *symbolic*, every size of every input is unknown while converting, which is harder than
what any exporter writes. `exported` is the PyTorch module through `torch.export`, at fixed sizes."""


def able(results: Results) -> set[str]:
    """The cases that ONNX Runtime passes."""
    reference = results.get((REFERENCE, "runtime"), {})
    return {name for name, outcome in reference.items() if outcome.status == "pass"}


def figures(outcomes: dict[str, Outcome], reference: set[str]) -> tuple[collections.Counter[str], int, int]:
    """The outcomes counted, and how many pass of those that the reference passes."""
    count = collections.Counter(outcome.status for outcome in outcomes.values())
    both = sum(outcome.status == "pass" for name, outcome in outcomes.items() if name in reference)
    return count, both, sum(name in reference for name in outcomes)


def summary(target: str, mode: str, outcomes: dict[str, Outcome], reference: dict[str, Outcome]) -> str:
    """One line of figures."""
    passing = able({(REFERENCE, "runtime"): reference})
    count, both, possible = figures(outcomes, passing)
    text = f"{target:12s} {mode:9s} {len(outcomes):5d} cases: {count['pass']:5d} pass, {count['refused']:4d} refused, "
    text += f"{count['failed']} failed, {count['wrong']} wrong"
    return text if target == REFERENCE else f"{text}; {both} of the {possible} that ONNX Runtime passes"


def page(results: Results) -> str:
    """The page: figures, operators by target and mode, reasons of refusals."""
    lines = ["# Operators", "", HEAD, "", "## Figures", "", *_figure_table(results), "", "## Support", ""]
    lines += ["A cell is passing / all cases: runtime · constant · symbolic; a dash: the mode does not apply, or"]
    lines += ["was not run.", ""]
    named = {name: operator for name in names() if (operator := operator_of(name))}
    lines += [*_support(results, named), "", "## Refusals", ""]
    lines += ["By reason, how many cases of each target: runtime · constant · symbolic.", ""]
    return "\n".join([*lines, *_refusals(results, named)]) + "\n"


def operator_of(name: str) -> str | None:
    """The operator a case is about, the first node that its model has; None for a function's inlined body."""
    expanded = name.endswith("_expanded") or "_expanded_" in name
    return None if expanded else str(load(name).model.graph.node[0].op_type)


def _targets(results: Results) -> list[str]:
    return [t for t in TARGETS if t != REFERENCE and any((t, mode) in results for mode in MODES)]


def _figure_table(results: Results) -> list[str]:
    reference = able(results)
    lines = ["| target | mode | cases | pass | refused | failed | wrong | of those that ONNX Runtime passes |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for (target, mode), outcomes in results.items():
        count, both, possible = figures(outcomes, reference)
        last = "" if target == REFERENCE else f"{both} of {possible}"
        cells = [len(outcomes), *(count[status] for status in ("pass", "refused", "failed", "wrong")), last]
        lines.append(f"| {target} | {mode} | " + " | ".join(map(str, cells)) + " |")
    return lines


def _support(results: Results, named: dict[str, str]) -> list[str]:
    targets = _targets(results)
    lines = ["| operator | opsets | " + " | ".join(targets) + " |", "|---|---|" + "---|" * len(targets)]
    counts: dict[tuple[str, str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for (target, mode), outcomes in results.items():
        for name, operator in named.items():
            if name in outcomes:
                counts[operator, target, mode][outcomes[name].status] += 1
    for operator in sorted(set(named.values())):
        cells = [" · ".join(_cell(counts[operator, target, mode]) for mode in MODES) for target in targets]
        lines.append(f"| {operator} | {_opsets(operator)} | " + " | ".join(cells) + " |")
    return lines


def _refusals(results: Results, named: dict[str, str]) -> list[str]:
    reasons: dict[tuple[str, str], collections.Counter[tuple[str, str]]] = {}
    for (target, mode), outcomes in results.items():
        for name, operator in named.items():
            outcome = outcomes.get(name)
            if outcome and outcome.status != "pass" and target != REFERENCE:
                key = operator, exclusions.brief(outcome.detail)
                reasons.setdefault(key, collections.Counter())[target, mode] += 1
    lines = []
    for (operator, reason), count in sorted(reasons.items()):
        where = [
            f"{target} {' · '.join(str(count[target, mode]) for mode in MODES)}"
            for target in _targets(results)
            if any(count[target, mode] for mode in MODES)
        ]
        lines.append(f"* **{operator}**: {reason} ({', '.join(where)})")
    return lines


def _cell(count: collections.Counter[str]) -> str:
    total = sum(count.values())
    if not total:
        return "-"
    bad = count["wrong"] + count["failed"]
    return f"{count['pass']}/{total}" + (f" ({bad} broken)" if bad else "")


def _opsets(operator: str) -> str:
    versions = [s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == operator]
    return f"{max(7, min(versions))}-{onnx.defs.onnx_opset_version()}" if versions else "-"
