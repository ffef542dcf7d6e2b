"""``xport engines``: other people's converters, each in an environment of its own."""

from __future__ import annotations

from typing import Any

import click

from xport.cli.options import output_options
from xport.cli.output import Output


@click.group(short_help="Install and remove optional converters.")
def engines() -> None:
    """Optional converters of others, each in a Python environment of its own, which xport makes and removes.

    An installed engine adds routes that are tried after xport's own, or first with --via NAME; its results pass the
    same gate.
    """


@engines.command("list")
@output_options
def list_engines(output: Output) -> None:
    """List the engines and what is installed."""
    rows = describe()
    if output.json:
        output.print_json({"engines": rows})
        return
    output.table(
        ("engine", "does", "needs", "installs", "state"),
        [(row["engine"], row["does"], row["python"], ", ".join(row["requirements"]), row["state"]) for row in rows],
    )
    output.line(f"They lie in {_folder()}.")


@engines.command()
@click.argument("name")
@click.option("--python", metavar="PATH", help="The Python to make the environment with; looked for by default.")
@output_options
def add(output: Output, name: str, python: str | None) -> None:
    """Make the environment of engine NAME and install it there."""
    from xport.convert.engines import environment

    with output.progress() as tell:
        card = environment.add(name, interpreter=python, tell=tell)
    if output.json:
        output.print_json(card)
    else:
        output.line(f"{name} is ready in {environment.folder() / name}.")


@engines.command()
@click.argument("name")
@output_options
def remove(output: Output, name: str) -> None:
    """Remove the environment of engine NAME."""
    from xport.convert.engines import environment

    place = environment.remove(name)
    if output.json:
        output.print_json({"removed": str(place)})
    else:
        output.line(f"{place} was removed.")


def describe() -> list[dict[str, Any]]:
    """The engines with their state, also for ``xport doctor``."""
    from xport.convert.engines import environment
    from xport.convert.engines.table import ENGINES

    rows: list[dict[str, Any]] = []
    for name, engine in ENGINES.items():
        card = environment.card(name)
        state = f"not installed: {environment.add_command(name)}"
        if card is not None:
            state = "ready" if environment.is_ready(name) else f"other versions: xport engines remove {name}, then add"
        rows.append(
            {
                "engine": name,
                "does": engine.does,
                "python": engine.pythons,
                "requirements": list(engine.requirements),
                "ready": environment.is_ready(name),
                "state": state,
            }
        )
    return rows


def _folder() -> str:
    from xport.convert.engines import environment

    return str(environment.folder())
