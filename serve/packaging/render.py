"""Templates of bundle files, filled strictly; YAML from data, never from text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xport.runtimes import require

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """A template filled with values.

    Args:
        template: A file in ``templates/``.
        **values: What it names; a name without a value is an error.

    Returns:
        The text, ending with a newline.
    """
    jinja2 = require("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # no HTML is made here
    )
    environment.filters["exec_form"] = json.dumps
    text: str = environment.get_template(template).render(**values)
    return text


def write(path: Path, template: str, **values: Any) -> None:
    """Fill a template into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(template, **values), encoding="utf-8")


def write_yaml(path: Path, *documents: Any, comment: str = "") -> None:
    """Write documents as YAML; every string that YAML could take for something else is quoted.

    Args:
        path: The file.
        *documents: Dicts, lists, strings, numbers.
        comment: Put at the top.
    """
    yaml = require("yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    body = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, explicit_start=len(documents) > 1)
    path.write_text(head + body, encoding="utf-8")


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write lines of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
