"""The exact versions that a container installs: those that the model was proven with here."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable

from xport.errors import MissingRuntimeError
from xport.runtimes import require

PYTHON_IMAGE = f"docker.io/library/python:{sys.version_info.major}.{sys.version_info.minor}-slim-bookworm"
"""An image with the Python of this machine."""

# What a bundle may need although nothing here does.
_TESTED = {"torchserve": "0.12.0", "pillow": "12.0.0", "psutil": "7.2.2", "pyyaml": "6.0.3", "wheel": "0.45.1"}
_NEEDS = {"torchserve": ("pillow", "psutil", "packaging", "wheel")}


def lock(packages: Iterable[str]) -> list[str]:
    """The closure of some distributions over their requirements.

    Args:
        packages: Names, with extras in brackets if wanted.

    Returns:
        Lines ``name==version``, sorted. Labels of local builds are left out (``+cpu``): indexes do not know them.

    Raises:
        MissingRuntimeError: If one is not installed here, so that its version is not known.
    """
    require("packaging")
    from packaging.requirements import Requirement

    versions: dict[str, str] = {}
    queue = [Requirement(package) for package in packages]
    seen: set[tuple[str, str]] = set()
    while queue:
        wanted = queue.pop()
        name = _canonical(wanted.name)
        extras = sorted(wanted.extras) or [""]
        fresh = [extra for extra in extras if (name, extra) not in seen]
        seen.update((name, extra) for extra in fresh)
        if not fresh:
            continue
        versions[name], needs = _installed(name)
        for text in needs:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *fresh)):
                queue.append(requirement)
    return [f"{name}=={version}" for name, version in sorted(versions.items())]


def own_distribution() -> importlib.metadata.Distribution:
    """What is known about the installed xport.

    Raises:
        MissingRuntimeError: If it runs from a copy that was never installed.
    """
    try:
        return importlib.metadata.distribution("xport-ml")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingRuntimeError(
            "xport is not installed, so that what it needs is not known.", "Install the checkout: pip install -e ."
        ) from error


def _installed(name: str) -> tuple[str, list[str]]:
    """Version and requirements of a distribution."""
    try:
        found = importlib.metadata.distribution(name)
        return found.version.partition("+")[0], found.requires or []
    except importlib.metadata.PackageNotFoundError as error:
        if name in _TESTED:
            return _TESTED[name], list(_NEEDS.get(name, ()))
        raise MissingRuntimeError(
            f"{name} is not installed, so that the version to lock is not known.", f"pip install {name}"
        ) from error


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
