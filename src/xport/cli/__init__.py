"""The command line: ``xport COMMAND …``.

Nothing is imported here that takes time: `xport --help` answers before a framework would have been found on
disk.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Instead of those of the process.

    Raises:
        SystemExit: Always: 0 fine, 1 the work failed, 2 wrong usage or unreadable input, 3 parity failed, 130
            Ctrl-C.
    """
    from xport.cli.surroundings import settle

    settle()
    from xport.cli.run import run

    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))
