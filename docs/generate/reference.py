"""The reference pages, made from the code: commands, Python names, routes, errors, JSON.

`hook` adds them to the site; ``tests/docs`` compares them with the code.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import xport
from xport import errors
from xport.cli.commands import xport as group
from xport.convert.planner import Route, plan, targets
from xport.convert.routes import DISTRIBUTIONS, RUNTIME_OF, STEPS
from xport.formats import Format

DOCS = Path(__file__).parents[1]
TODO = "What to do:"
_BARE_BAR = re.compile(r"\|(?=(?:[^`]*`[^`]*`)*[^`]*$)")
JSON_KEYS = {
    "convert": "path format size seconds route tried verified precision signature outputs",
    "convert --many": "results_version xport output executor seconds exit_code results",
    "verify": "path format passed cases outputs signature proof",
    "inspect": "path format content size signature dynamic_dimensions parameters operators opsets details notes proof"
    " golden_cases",
    "bisect": "tool created verdict agrees reference other inputs outputs divergences more runtime curve unmatched"
    " notes files",
    "formats": "routes",
    "engines list": "engines",
    "doctor": "xport python platform packages devices missing engines problems",
}
"""The keys of what ``--json`` prints, where no schema says it."""


def pages() -> dict[str, str]:
    """Every generated page: its place in the site, and its Markdown."""
    return {
        "reference/cli.md": cli(),
        "reference/api.md": api(),
        "reference/routes.md": routes(),
        "reference/errors.md": error_list(),
        "reference/json.md": json_forms(),
    }


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table. Bars are escaped, but not inside of code, where Python-Markdown would print the escape."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(_BARE_BAR.sub(r"\\|", cell) for cell in line) + " |" for line in lines)


def cli() -> str:
    """Every command with its options, in the words of its own help."""
    intro = (
        "# Command line\n\n`xport COMMAND --help` prints the same in a terminal. Exit codes: "
        "[Errors and exit codes](errors.md).\n"
    )
    return "\n".join([intro, *_commands(group, click.Context(group, info_name="xport", **group.context_settings), 2)])


def _commands(parent: click.Group, above: click.Context, level: int) -> Iterator[str]:
    for name in parent.list_commands(above):
        if command := parent.get_command(above, name):
            yield _command(command, click.Context(command, info_name=name, parent=above), level)


def _command(command: click.Command, context: click.Context, level: int) -> str:
    usage = context.get_usage().removeprefix("Usage: ")
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    # Click keeps the lines of a paragraph that begins with \b.
    text = [f"```text\n{p[2:].strip()}\n```" if p.startswith("\b\n") else " ".join(p.split()) for p in paragraphs]
    records = [
        record
        for each in command.get_params(context)
        if isinstance(each, click.Option) and (record := each.get_help_record(context))
    ]
    options = table(("option", ""), [(f"`{names}`", words.replace("<", "&lt;")) for names, words in records])
    parts = [f"{'#' * level} {context.command_path}", f"```text\n{usage}\n```", *text, options]
    if isinstance(command, click.Group):
        parts += _commands(command, context, level + 1)
    return "\n\n".join(parts) + "\n"


def api() -> str:
    """Every public name of the package; mkdocstrings writes them out."""
    blocks = [
        f"::: {home(name)}\n    options:\n      heading: xport.{name}\n      toc_label: {name}\n" for name in public()
    ]
    intro = (
        "# Python\n\n`import xport` brings no framework: each name is imported when it is first used. Errors stand in "
        "[Errors and exit codes](errors.md).\n"
    )
    return "\n".join([intro, *blocks])


def public() -> list[str]:
    """The names of ``xport.__all__`` apart from errors; functions first."""
    names = [name for name in xport.__all__ if not name.startswith("__") and name not in vars(errors)]
    return sorted(names, key=lambda name: (name[0].isupper(), name))


def home(name: str) -> str:
    """Where a public name is defined: ``xport.convert.api.convert``."""
    value = getattr(xport, name)
    if inspect.ismodule(value):
        module, _, name = vars(value)["_callable_function"].partition(":")
        value = getattr(importlib.import_module(module), name)
    return f"{value.__module__}.{value.__qualname__}"


def routes() -> str:
    """What becomes what, by which steps, and what each needs."""
    sources = list(dict.fromkeys(step.source for step in STEPS))
    ends = [f for f in Format if any(f in targets(source) for source in sources)]
    grid = [
        (f"**{source.value}**", *("●" if target in targets(source) else "" for target in ends)) for source in sources
    ]
    parts = [
        "# Formats and routes\n\n`xport formats` prints this with what is installed on your machine. Routes are "
        "tried in this order; one that fails, or whose numbers fail, gives way to the next. `--via` asks for another: "
        "a format to go through, a step, or an engine.\n",
        table(("from \\ to", *(end.value for end in ends)), grid),
    ]
    for source in sources:
        rows = [_route(route) for target in targets(source) for route in plan(source, target)]
        parts.append(f"\n## From {source.value}\n\n" + table(("route", "steps", "needs", ""), rows))
    return "\n".join(parts) + "\n"


def _route(route: Route) -> tuple[str, ...]:
    runtimes = (RUNTIME_OF[route.steps[0].source], RUNTIME_OF[route.steps[-1].target])
    needs = dict.fromkeys([*route.needs, *runtimes])
    packages = ", ".join(DISTRIBUTIONS.get(name, (name, ""))[0] for name in needs)
    notes = "; ".join(step.note for step in route.steps if step.note)
    return str(route), "<br>".join(f"`{step.module}`" for step in route.steps), packages, notes


def error_list() -> str:
    """Every class of the tree: what it means, what to do, what the command line exits with."""
    rows = [(f"`{c.__name__}`", str(c.exit_code), *meaning(c)) for c in tree(errors.XportError)]
    warning = meaning(errors.XportWarning)
    return "\n".join(
        [
            "# Errors and exit codes\n",
            table(
                ("exit code", "what it says"),
                [
                    ("0", "fine"),
                    ("1", "the work failed"),
                    ("2", "wrong usage, or an input that cannot be read or expressed"),
                    ("3", "the numbers or the interface changed"),
                    ("130", "ended by Ctrl-C"),
                    ("143", "ended by SIGTERM"),
                ],
            ),
            "\nAn error has two parts: what was expected and found, and below it what to do, with a command to paste "
            "where there is one. `-v` adds the traceback. With `--json` the same is printed as "
            '`{"error": {"type", "message", "fix", "exit_code"}}`.\n',
            "## The tree\n",
            f"```text\n{_drawing()}\n```\n",
            "In Python all of them are `xport.NAME` or stand in `xport.errors`; `message`, `fix` and `exit_code` are "
            "attributes.\n",
            table(("error", "exit code", "what it means", "what to do"), rows),
            f"\n`XportWarning`: {warning[0]} {TODO} {warning[1]}\n",
        ]
    )


def tree(root: type[errors.XportError]) -> Iterator[type[errors.XportError]]:
    """A class and everything below it that the module of errors defines."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def meaning(error: type) -> tuple[str, str]:
    """What a class of error means, and what to do, from its docstring.

    Raises:
        ValueError: If the docstring does not say what to do.
    """
    means, *rest = inspect.cleandoc(error.__doc__ or "").split("\n\n")
    todo = [" ".join(part.split()) for part in rest if part.startswith(TODO)]
    if not todo:
        raise ValueError(f"The docstring of {error.__name__} has no paragraph that begins with {TODO!r}.")
    text = todo[0].removeprefix(TODO).strip().replace("``", "`")
    return " ".join(means.split()), text[0].upper() + text[1:]


def _drawing() -> str:
    """The tree as the module's docstring draws it."""
    paragraphs = inspect.getdoc(errors).split("\n\n")  # type: ignore[union-attr]
    return inspect.cleandoc(next(p for p in paragraphs if "└──" in p))


def json_forms() -> str:
    """What ``--json`` prints: two schemas written out, the keys of everything else."""
    rows = [(f"`xport {name}`", ", ".join(f"`{key}`" for key in keys.split())) for name, keys in JSON_KEYS.items()]
    parts = [
        "# JSON\n\n`--json` prints one object on stdout and nothing else there. If something fails, it is "
        '`{"error": …}` ([Errors and exit codes](errors.md)). Reports that are kept carry a version of their form.\n',
        table(("command", "keys"), rows),
    ]
    for name in ("validate", "probe"):
        schema = json.loads((DOCS / f"{name}.schema.json").read_text())
        parts.append(f"\n## xport {name}\n\n{schema['description']} [Schema](../{name}.schema.json)\n")
        parts.append(_properties(schema))
        for part, inner in schema.get("$defs", {}).items():
            parts.append(f"\n### {name}: {part}\n\n{inner.get('description', '')}\n\n{_properties(inner)}")
    return "\n".join(parts) + "\n"


def _properties(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (f"`{key}`", _type(value), "" if key in required else "may be missing", value.get("description", ""))
        for key, value in schema["properties"].items()
    ]
    return table(("key", "type", "", "meaning"), rows)


def _type(value: dict[str, Any]) -> str:
    """A schema's type in words."""
    if "$ref" in value:
        return value["$ref"].rpartition("/")[2]
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join(f"`{json.dumps(each)}`" for each in value["enum"])
    for choice in ("oneOf", "anyOf"):
        if choice in value:
            return " or ".join(map(_type, value[choice]))
    kind = value.get("type", "anything")
    if kind == "array":
        return f"list of {_type(value['items'])}" if "items" in value else "list"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
