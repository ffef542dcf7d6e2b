"""Every call of xport that README and docs name is one that the command line knows, with options that it knows."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tests.docs.pages import PAGES, Command, commands, name_of
from xport.cli.commands import xport
from xport.cli.options import FormatType
from xport.errors import XportError

_CHECKED = (click.Choice, click.IntRange, click.FloatRange, FormatType)
"""Types whose values can be judged without a file at hand."""


def problem(command: Command) -> str:
    """What the command line would say against a call, apart from files that are missing; empty if nothing."""
    words = list(command.words[1:])
    context, at = click.Context(xport, info_name="xport", **xport.context_settings), xport
    while isinstance(at, click.Group):
        if not words or _is_placeholder(words[0]) or words[0] in ("--help", "--version"):
            return "" if words or not command.whole else "a command is missing"
        found = at.get_command(context, name := words.pop(0))
        if found is None:
            return f"no command {name!r}"
        at, context = found, click.Context(found, info_name=name, parent=context)
    try:
        values, rest, _ = at.make_parser(context).parse_args(list(words))
    except click.BadOptionUsage as error:
        # In a sentence, `--many` stands for itself.
        return "" if not command.whole and words[-1] == error.option_name else error.format_message()
    except click.UsageError as error:
        return error.format_message()
    return f"too many arguments: {rest}" if rest else _misfit(at, context, values, command.whole)


def _misfit(command: click.Command, context: click.Context, values: dict[str, object], whole: bool) -> str:
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if whole and parameter.required and value in (None, ()):
            return f"{parameter.human_readable_name} is missing"
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(each, str) and isinstance(parameter.type, _CHECKED) and not _is_placeholder(each):
                try:
                    parameter.type.convert(each, parameter, context)
                except (click.UsageError, XportError) as error:
                    return str(error)
    return ""


def _is_placeholder(word: str) -> bool:
    return re.fullmatch(r"[A-Z][A-Z_.|-]*", word) is not None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    found = list(commands(page.read_text()))
    wrong = [f"{name_of(page)}:{c.line}: {' '.join(c.words)}: {said}" for c in found if (said := problem(c))]
    assert not wrong, "\n".join(wrong)


def test_commands_are_found() -> None:
    assert sum(len(list(commands(page.read_text()))) for page in PAGES) > 100


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("$ xport convrt model.onnx", "no command"),
        ("$ xport convert model.onnx --too onnx", "No such option"),
        ("$ xport convert model.onnx --to onyx", "Unknown format"),
        ("$ xport convert model.onnx --to", "requires an argument"),
        ("$ xport validate a.onnx b.onnx --runs -1", "not in the range"),
        ("$ xport package model.onnx -o bundle", "is missing"),
        ("$ xport verify a.onnx b.onnx", "too many"),
        ("$ xport", "a command is missing"),
        ("$ xport engines ad onnx2tf", "no command"),
    ],
)
def test_a_wrong_command_is_found(line: str, said: str) -> None:
    (command,) = commands(f"```console\n{line}\n```\n" if line != "$ xport" else "```console\n$ xport  \n```\n")
    assert said in problem(command)
