"""What travels inside an artifact beside the model: small named members, where each format has room for them.

| format | place | who else sees it |
|---|---|---|
| ONNX | ``metadata_props``, binary members as base64 | ``session.get_modelmeta()`` |
| SavedModel | ``assets.extra/xport/`` | any file tool |
| TorchScript, ``.pt2`` | ``extra/`` inside the zip | ``torch.jit.load``, ``torch.export.load`` |
| TFLite | ``Metadata`` entries with a buffer each | the TFLite metadata tools |
| PyTorch source | files in its folder | any file tool |
| others | files beside the model, ``NAME.xport.json`` | any file tool |

None of them needs a framework to be read or written, and none reads the model's tensors.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType

from xport.carriers.limits import MEMBER_LIMIT
from xport.errors import UsageError
from xport.formats import Format

__all__ = ["GOLDEN", "MEMBER_LIMIT", "SHEET", "read_members", "write_members"]

SHEET = "xport.json"
"""The member with signature and proof."""
GOLDEN = "golden.npz"
"""The member with the golden inputs and outputs."""
MEMBERS = (SHEET, GOLDEN)

_CARRIERS = {
    Format.ONNX: "xport.carriers.onnx_metadata",
    Format.SAVEDMODEL: "xport.carriers.folder",
    Format.TORCHSCRIPT: "xport.carriers.torch_archive",
    Format.EXPORTED: "xport.carriers.torch_archive",
    Format.TFLITE: "xport.carriers.tflite_metadata",
    Format.PYTORCH: "xport.carriers.torch_files",
    Format.KERAS: "xport.carriers.sidecar",
}


def write_members(path: Path, file_format: Format, members: Mapping[str, bytes]) -> None:
    """Put members into an artifact, in place of those it had.

    Args:
        path: The model file, or the SavedModel's folder.
        file_format: What it holds.
        members: Content by name; an empty mapping removes what was there.

    Raises:
        UsageError: If a name is not one of `MEMBERS` or a member is too large.
        UnreadableModelError: If the file is broken.
    """
    for name, data in members.items():
        if name not in MEMBERS:
            raise UsageError(f"Unknown member {name!r}.", f"Use one of {', '.join(MEMBERS)}.")
        if len(data) > MEMBER_LIMIT:
            raise UsageError(f"Member {name!r} has {len(data)} bytes, more than {MEMBER_LIMIT}.")
    _carrier(file_format).write(path, MEMBERS, dict(members))


def read_members(path: Path, file_format: Format, names: Collection[str] = MEMBERS) -> dict[str, bytes]:
    """Read the members of an artifact; sizes are checked before anything is read.

    Args:
        path: The model file, or the SavedModel's folder.
        file_format: What it holds.
        names: Which members to read.

    Returns:
        Content by name; empty if the model carries none.

    Raises:
        UnreadableModelError: If the file is broken or a member is larger than `MEMBER_LIMIT`.
    """
    members: dict[str, bytes] = _carrier(file_format).read(path, names)
    return members


def _carrier(file_format: Format) -> ModuleType:
    return importlib.import_module(_CARRIERS[file_format])
