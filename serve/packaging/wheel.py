"""xport as a wheel, made from the code that runs: wherever it was installed from, and without the network.

Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from pathlib import Path

import xport
from xport.serve.packaging.lock import own_distribution

_DATE = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: xport package\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_SCRIPT = "[console_scripts]\nxport = xport.cli:main\n"


def write_wheel(folder: Path) -> Path:
    """Write the wheel of this xport.

    Args:
        folder: Where to.

    Returns:
        The wheel's path. The same code gives the same bytes.

    Raises:
        MissingRuntimeError: If xport runs from a copy that was never installed.
    """
    found = own_distribution()
    name = found.metadata["Name"].replace("-", "_")
    info = f"{name}-{found.version}.dist-info"
    members = {f"xport/{path}": (_root() / path).read_bytes() for path in _files()}
    # In a checkout the folder of an editable install may be found first: the same text under its older name.
    members[f"{info}/METADATA"] = (found.read_text("METADATA") or found.read_text("PKG-INFO") or "").encode()
    members[f"{info}/WHEEL"] = _WHEEL.encode()
    members[f"{info}/entry_points.txt"] = _SCRIPT.encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    target = folder / f"{name}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            file = zipfile.ZipInfo(path, _DATE)
            file.compress_type = zipfile.ZIP_DEFLATED
            file.external_attr = 0o644 << 16
            archive.writestr(file, data)
    return target


def _root() -> Path:
    return Path(next(iter(xport.__path__)))


def _files() -> list[str]:
    """Every file of the package; in a checkout its areas are links, which are followed."""
    found = []
    for folder, below, names in os.walk(_root(), followlinks=True):
        below[:] = sorted(name for name in below if name != "__pycache__")
        found += [os.path.relpath(os.path.join(folder, name), _root()) for name in names if not name.endswith(".pyc")]
    return sorted(found)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
