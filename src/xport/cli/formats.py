"""``xport formats``."""

from __future__ import annotations

from typing import Any

import click

from xport.cli.options import output_options
from xport.cli.output import Output
from xport.convert.engines.table import ENGINES
from xport.convert.planner import is_installed, missing, pip_command, plan, targets
from xport.convert.routes import RUNTIME_OF, STEPS


@click.command(short_help="List formats, routes and what they need.")
@output_options
def formats(output: Output) -> None:
    """List what can be converted into what, the routes, and what each needs."""
    rows = list(_rows())
    if output.json:
        output.print_json({"routes": rows})
        return
    output.table(
        ("from", "to", "route", "needs", ""),
        [
            (row["source"], row["target"], row["route"], ", ".join(row["needs"]) or "—", _note(row))
            for row in rows
            if row["choice"] == 1
        ],
    )
    lacking = [name for name in dict.fromkeys(n for row in rows for n in row["missing"]) if name not in ENGINES]
    for name, engine in ENGINES.items():
        state = "installed" if is_installed(name) else f"not installed: {pip_command([name])}"
        output.line(f"Optional engine {name} ({engine.does}): {state}")
    if lacking:
        output.line(f"Missing: {', '.join(lacking)}. Get them with: {pip_command(lacking)}")


def _rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for source in dict.fromkeys(step.source for step in STEPS):
        for target in targets(source):
            for choice, route in enumerate(plan(source, target), start=1):
                needs = list(dict.fromkeys([*route.needs, RUNTIME_OF[source], RUNTIME_OF[target]]))
                rows.append(
                    {
                        "source": source.value,
                        "target": target.value,
                        "choice": choice,
                        "route": str(route),
                        "steps": [step.module for step in route.steps],
                        "needs": needs,
                        "missing": missing(needs),
                        "notes": [step.note for step in route.steps if step.note],
                    }
                )
    return rows


def _note(row: dict[str, Any]) -> str:
    lacking = f"missing {', '.join(row['missing'])}" if row["missing"] else "ready"
    return "; ".join([lacking, *row["notes"]])
