"""``xport completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from xport.errors import UsageError

_SHELLS = ("bash", "zsh", "fish")


_HELP = """Print the script that completes xport's commands in SHELL.

\b
bash: xport completion bash >> ~/.bashrc
zsh:  xport completion zsh >> ~/.zshrc
fish: xport completion fish > ~/.config/fish/completions/xport.fish
"""  # the backspace keeps click from joining the lines


@click.command(short_help="Print the script for shell completion.", help=_HELP)
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script of a shell."""
    from xport.cli.commands import xport

    found = get_completion_class(shell)
    if found is None:
        raise UsageError(f"Unknown shell {shell!r}.", f"Use one of {', '.join(_SHELLS)}.")
    click.echo(found(xport, {}, "xport", "_XPORT_COMPLETE").source())
