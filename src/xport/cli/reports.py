"""Where a command's report goes beside the terminal: files of JSON and pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from xport.errors import DestinationError, UsageError


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
        if path.is_file() and path.read_bytes()[:1] not in (b"", b"{", b"<"):
            raise UsageError(f"{path}, given with {option}, exists and is no report.", "Name another file.")
        if option == "--report":
            from xport.validate.reports.page import check_packages

            check_packages()


def write_report(report: Report, targets: Mapping[str, Path | None], tell: Callable[[str], None]) -> None:
    """Write a report where its user wants it.

    Args:
        report: The report.
        targets: The files of ``--json`` and ``--report``; None for those that are not wanted.
        tell: Told what begins.

    Raises:
        DestinationError: If a file cannot be written.
        MissingRuntimeError: If the packages of the ``report`` extra are missing.
    """
    if (path := targets["--json"]) is not None:
        try:
            path.write_text(json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise DestinationError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from error
    if (path := targets["--report"]) is not None:
        tell("drawing the report")
        report.write_page(path)
