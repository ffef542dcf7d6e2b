"""The group of commands, each in a module of its own that is imported when it is needed."""

from __future__ import annotations

import importlib

import click

from xport import __version__

COMMANDS = (
    "convert",
    "verify",
    "validate",
    "compare",
    "bisect",
    "probe",
    "serve",
    "package",
    "inspect",
    "formats",
    "engines",
    "doctor",
    "completion",
)
"""Module and function name of every command, in the order of the help."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"xport.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xport")
def xport() -> None:
    """Move a trained model between PyTorch, ONNX, TensorFlow SavedModel and TFLite, with a proof."""
