"""Constraints for an environment at the lower end of every range; ``python .ci/oldest.py [--table]``.

Every dependency that a user's installation brings stands at the lowest version that `pyproject.toml` allows; tools that
only tests need stand at what `constraints.txt` says. `make test-oldest` installs with what this prints.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
EXTRAS = ("torch", "cpu", "serve", "report", "demo")
EXCEPTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "3.12": {},
    "3.13": {},
}
"""By Python: packages that stand higher than their lower bound, at which version, and why."""


def requirements(project: Mapping[str, Any], extras: tuple[str, ...] = EXTRAS) -> list[Requirement]:
    """What a user's installation with some extras asks for, xport itself and what is for other systems left out."""
    texts = [*project["dependencies"], *(text for name in extras for text in project["optional-dependencies"][name])]
    found = [Requirement(text) for text in texts]
    return [each for each in found if each.name != project["name"] and (not each.marker or each.marker.evaluate())]


def lowest(requirement: Requirement) -> str:
    """The lowest version that a requirement allows.

    Raises:
        ValueError: If it has no lower bound.
    """
    bounds = [each.version for each in requirement.specifier if each.operator in (">=", "==", "~=")]
    if not bounds:
        raise ValueError(f"{requirement} has no lower bound: give it one in pyproject.toml")
    return max(bounds, key=Version)


def pins(project: Mapping[str, Any], python: str) -> dict[str, str]:
    """The version of every dependency, by its canonical name, where two extras differ the higher one."""
    found: dict[str, str] = {}
    for requirement in requirements(project):
        name, version = canonicalize_name(requirement.name), lowest(requirement)
        found[name] = max(version, found.get(name, version), key=Version)
    return found | {name: version for name, (version, _) in EXCEPTIONS.get(python, {}).items()}


def constraints(project: Mapping[str, Any], python: str, tools: str) -> str:
    """The text of a file of constraints.

    Args:
        project: The table ``project`` of pyproject.toml.
        python: The Python that it is for, as ``3.11``.
        tools: The text of constraints.txt.
    """
    own = pins(project, python)
    lines = [line.strip() for line in tools.splitlines() if line.strip() and not line.startswith("#")]
    others = [line for line in lines if canonicalize_name(Requirement(line).name) not in own]
    return "\n".join([*(f"{name}=={version}" for name, version in sorted(own.items())), *others]) + "\n"


def main() -> None:
    """Print the constraints, or with ``--table`` what was really installed, as rows of a page."""
    parser = argparse.ArgumentParser(description="Constraints at the lower end of every range.")
    parser.add_argument("--table", action="store_true", help="rows of docs/versions.md instead")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not parser.parse_args().table:
        print(constraints(project, python, (ROOT / "constraints.txt").read_text()), end="")
        return
    from importlib.metadata import version

    for name in sorted(pins(project, python)):
        print(f"| {name} | {version(name)} |")


if __name__ == "__main__":
    main()
