"""The generated reference holds every command, option, name, route and error that there is."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest

import xport
from tests.docs.pages import ROOT
from xport import errors
from xport.cli.commands import COMMANDS
from xport.cli.commands import xport as group


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "docs/generate/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


reference = load()


def test_every_command_and_option() -> None:
    page = reference.cli()
    context = click.Context(group)
    for name in COMMANDS:
        section = page.split(f"\n## xport {name}\n")[1].split("\n## xport ")[0]
        command = group.get_command(context, name)
        assert command is not None
        commands = [command]
        if isinstance(command, click.Group):
            commands += list(command.commands.values())
            assert all(f"### xport {name} {inner}\n" in section for inner in command.commands)
        for option in (p for each in commands for p in each.params if isinstance(p, click.Option) and not p.hidden):
            assert option.help is None or option.help.split(";")[0].replace("<", "&lt;") in section
            assert all(spelling in section for spelling in option.opts)


def test_every_public_name() -> None:
    page = reference.api()
    for name in xport.__all__:
        if name.startswith("__"):
            continue
        value = getattr(xport, name)
        if isinstance(value, type) and issubclass(value, (errors.XportError, errors.XportWarning)):
            assert name in reference.error_list()
        else:
            assert f"heading: xport.{name}\n" in page
            assert f"::: {reference.home(name)}\n" in page


def test_every_error_says_what_to_do() -> None:
    page = reference.error_list()
    classes = [c for c in vars(errors).values() if isinstance(c, type) and c.__module__ == errors.__name__]
    assert len(classes) > 12
    for error in classes:
        means, todo = reference.meaning(error)
        assert means in page
        assert todo in page
        if issubclass(error, errors.XportError):
            assert f"| `{error.__name__}` | {error.exit_code} |" in page
            assert error.__name__ in page.split("```")[1], "the drawing in xport.errors lacks it"


def test_an_error_that_does_not_say_what_to_do_is_refused() -> None:
    class Silent(errors.XportError):
        """Nothing but a meaning."""

    with pytest.raises(ValueError, match="What to do"):
        reference.meaning(Silent)


def test_every_route(call: Callable[..., tuple[int, str, str]]) -> None:
    page = reference.routes()
    _, out, _ = call("formats", "--json")
    rows = json.loads(out)["routes"]
    for row in rows:
        assert f"\n| {row['route']} | " + "<br>".join(f"`{step}`" for step in row["steps"]) + " |" in page
    assert page.count("→") == sum(row["route"].count("→") for row in rows)


def test_every_key_of_the_schemas() -> None:
    page = reference.json_forms()
    for name in ("validate", "probe"):
        schema = json.loads((ROOT / f"docs/{name}.schema.json").read_text())
        for part in (schema, *schema.get("$defs", {}).values()):
            assert all(f"| `{key}` |" in page for key in part["properties"])


@pytest.mark.slow
def test_keys_of_json(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    artifact = tmp_path / "m.onnx"
    plan = tmp_path / "plan.yaml"
    plan.write_text("models:\n  - source: m.onnx\n    to: onnx\n")
    calls = {
        "convert": ("zoo:mnist_mlp@small", "--to", "onnx", "-o", artifact, "--json"),
        "verify": (artifact, "--json"),
        "inspect": (artifact, "--json"),
        "bisect": (artifact, artifact, "--json"),
        "convert --many": (plan, "--output", tmp_path / "out", "--jobs", 1, "--json"),
        "formats": ("--json",),
        "engines list": ("--json",),
        "doctor": ("--json",),
    }
    assert set(calls) == set(reference.JSON_KEYS)
    for name, arguments in calls.items():
        code, out, err = call(*name.split(), *arguments)
        assert code == 0, err
        assert list(json.loads(out)) == reference.JSON_KEYS[name].split(), name


def test_error_as_json(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, _ = call("inspect", tmp_path / "missing.onnx", "--json")
    assert code == 2
    assert list(json.loads(out)["error"]) == ["type", "message", "fix", "exit_code"]
    assert '`{"error": {"type", "message", "fix", "exit_code"}}`' in reference.error_list()
