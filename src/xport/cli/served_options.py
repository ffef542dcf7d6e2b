"""Options of the commands that ask servers; what is secret in them stays out of reports."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from xport.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_SECRET = "…"
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


def served_options(function: F) -> F:
    """Add ``--header``, ``--token-file`` and ``--ca-file``."""
    for option in (
        click.option("--ca-file", type=click.Path(path_type=Path), help="Trust these certificates, PEM."),
        click.option("--token-file", type=click.Path(path_type=Path), help="A bearer token for the server."),
        click.option(
            "--header", "headers", metavar="'K: V'", multiple=True, help="A header for the server. Repeatable."
        ),
    ):
        function = option(function)
    return function


def served_fields(headers: Sequence[str], token_file: Path | None, ca_file: Path | None) -> dict[str, Any]:
    """What the options say, as fields of `xport.serve.clients.address.Served`.

    Raises:
        UsageError: If a header is malformed or a file cannot be read.
    """
    found = []
    for text in headers:
        name, colon, value = text.partition(":")
        if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", name.strip()) or re.search(r"[\r\n]", value):
            raise UsageError(f"Malformed header {name!r}.", "Write it like --header 'X-Tenant: blue'")
        found.append((name.strip(), value.strip()))
    if token_file is not None:
        found.append(("Authorization", f"Bearer {_token(token_file)}"))
    if ca_file is not None and not ca_file.is_file():
        raise UsageError(f"{ca_file}, given with --ca-file, is no file.", "Name a PEM file.")
    return {"headers": tuple(found), "ca_file": str(ca_file) if ca_file is not None else ""}


def _token(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}, given with --token-file, cannot be read: {error}", "Check the path.") from error
    if not lines:
        raise UsageError(f"{path} holds no token.", "Write the token into its first line.")
    return lines[0]


def typed_command(name: str) -> str:
    """What was typed, to be pasted again, without the values of headers; empty for another command."""
    if sys.argv[1:2] != [name]:
        return ""
    shown, hide = [], False
    for word in sys.argv[1:]:
        if hide or word.startswith("--header="):
            shown.append(_hidden(word))
        else:
            shown.append(_PASSWORD.sub(f"{_SECRET}@", word))
        hide = word == "--header"
    return "xport " + shlex.join(shown)


def _hidden(word: str) -> str:
    return f"{word.partition(':')[0]}: {_SECRET}"
