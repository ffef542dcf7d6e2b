"""Where a command's report goes beside the terminal: files of JSON and pages."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from xport.cli.output import Output
from xport.errors import DestinationError, UsageError
from xport.replacing import write_text


class Report(Protocol):
    """What `xport validate`, `probe` and `compare` find."""

    def to_json(self) -> dict[str, Any]:
        """The report for machines."""

    def write_page(self, path: Path) -> None:
        """Write the report for people."""


def check_targets(targets: dict[str, Path | None], artifacts: tuple[str, ...], baseline: Path | None) -> None:
    """Refuse to write over what is read, and what cannot be written, before the work begins."""
    read = {Path(name).absolute() for name in artifacts} | ({baseline.absolute()} if baseline is not None else set())
    for option, path in targets.items():
        if path is None:
            continue
        if path.absolute() in read:
            raise UsageError(f"{option} would write over {path}, which is read.", "Name another file.")
        if path.is_dir() or not path.absolute().parent.is_dir():
            what = "is a folder" if path.is_dir() else "lies in a folder that does not exist"
            raise DestinationError(f"{path}, given with {option}, {what}.", "Name a file in an existing folder.")
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise DestinationError(f"{path}, given with {option}, cannot be written.", "Name a file somewhere else.")
        if path.is_file() and path.read_bytes()[:1] not in (b"", b"{", b"<"):
            raise UsageError(f"{path}, given with {option}, exists and is no report.", "Name another file.")
        if option == "--report":
            from xport.validate.reports.page import check_packages

            check_packages()


def tell_report(
    report: Report,
    output: Output,
    show: Callable[[], None],
    targets: Mapping[str, Path | None],
    others: Sequence[Callable[[], None]] = (),
) -> None:
    """Tell a report wherever its user wants it; what cannot be written keeps nothing else from being told.

    Args:
        report: The report.
        output: Where a user reads it.
        show: Prints it for people.
        targets: The files of ``--json`` and ``--report``; None for those that are not wanted.
        others: Write further files.

    Raises:
        DestinationError: At the end, if a file cannot be written.
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
    """
    writers = [*others]
    if (data := targets["--json"]) is not None:
        writers.append(lambda: write_text(data, json_text(report.to_json())))
    if (page := targets["--report"]) is not None:
        writers.append(lambda: report.write_page(page))
    if not output.json:
        show()
    failed: list[DestinationError] = []
    with output.progress() as tell:
        for write in writers:
            tell("writing the report")
            try:
                write()
            except DestinationError as error:
                failed.append(error)
    if failed:
        raise failed[0]
    if output.json:
        output.print_json(report.to_json())


def json_text(value: Any) -> str:
    """The content of a file of JSON."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"
