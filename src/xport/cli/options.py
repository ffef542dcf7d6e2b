"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from xport.cli.output import Output
from xport.formats import Format

F = TypeVar("F", bound=Callable[..., Any])


class FormatType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """The name of a format, or one of its aliases."""

    name = "format"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Format:
        """The format of that name."""
        return value if isinstance(value, Format) else Format.parse(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The formats that begin like this."""
        return [CompletionItem(f.value) for f in Format if f is not Format.SERVED and f.value.startswith(incomplete)]


def output_options(function: F) -> F:
    """Add ``--json`` and ``-v``; the function gets an `Output` as its first argument."""

    def with_output(*, json: bool, verbose: bool, **arguments: Any) -> Any:
        return function(Output(json=json, verbose=verbose), **arguments)

    with_output.__name__, with_output.__doc__ = function.__name__, function.__doc__
    with_output.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    decorated = click.option("--verbose", "-v", is_flag=True, help="Show messages of frameworks, and tracebacks.")(
        with_output
    )
    return click.option("--json", is_flag=True, help="Print one JSON object.")(decorated)  # type: ignore[return-value]


def source_options(function: F) -> F:
    """Add the options that say how to open a source."""
    for option in (
        click.option("--trust-pickle", is_flag=True, help="Allow code inside the file to run while it is opened."),
        click.option("--arch", metavar="PACKAGE.MODULE:FACTORY", help="What builds the module of a state dict."),
        click.option(
            "--input",
            "inputs",
            metavar="SPEC",
            multiple=True,
            help="An input, for models that do not record theirs: 'x:float32[batch,3,224,224]'. Repeatable.",
        ),
    ):
        function = option(function)
    return function
