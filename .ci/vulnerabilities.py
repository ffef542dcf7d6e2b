"""Asks PyPI for known vulnerabilities of what is installed here; ``python .ci/vulnerabilities.py``.

`pip-audit` does the asking. Where its service cannot be reached, or is a mirror that knows nothing of vulnerabilities,
this says ``skipped`` with the reason and succeeds: one package is asked about first, to find out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

ACCEPTED: dict[str, str] = {}
"""Ids of vulnerabilities that do not touch us, with the reason."""
_ASK = (sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--vulnerability-service=pypi")
_PROBE = "click"


def ask(*arguments: str, given: str | None = None) -> list[dict[str, Any]] | str:
    """Run pip-audit.

    Args:
        *arguments: Its further arguments.
        given: What it reads from stdin.

    Returns:
        What it found, one entry a package; what went wrong, in its own last words, if it found nothing out.
    """
    done = subprocess.run([*_ASK, *arguments], input=given, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")[:300]
    return found


def known(found: Iterable[Mapping[str, Any]], accepted: Mapping[str, str] = ACCEPTED) -> list[str]:
    """The vulnerabilities that count, one sentence each."""
    return [
        f"{package['name']} {package['version']}: {entry['id']}, mended in {', '.join(entry['fix_versions']) or 'none'}"
        for package in found
        for entry in package.get("vulns", ())
        if entry["id"] not in accepted and not set(entry.get("aliases", ())) & set(accepted)
    ]


def main() -> int:
    """Ask, and tell."""
    probe = ask("--no-deps", "--disable-pip", "-r", "/dev/stdin", given=f"{_PROBE}=={version(_PROBE)}")
    if isinstance(probe, str) or "skip_reason" in probe[0]:
        reason = probe if isinstance(probe, str) else probe[0]["skip_reason"]
        print(f"skipped: vulnerabilities; the service gives no answer about {_PROBE}: {reason}")
        return 0
    found = ask("--local", "--skip-editable")
    if isinstance(found, str):
        print(f"skipped: vulnerabilities; pip-audit broke off: {found}")
        return 0
    wrong = known(found)
    for sentence in wrong:
        print(f"vulnerable: {sentence}")
    unknown = [package["name"] for package in found if "skip_reason" in package]
    more = f"; nothing is known about {', '.join(unknown)}" if unknown else ""
    print(f"vulnerabilities: {len(wrong)} in {len(found) - len(unknown)} packages{more}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
