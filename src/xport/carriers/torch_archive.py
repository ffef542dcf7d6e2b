"""Members of a TorchScript or ``.pt2`` file: members of the zip archive below ``<root>/extra/``.

``torch.jit.load(path, _extra_files=…)`` and ``torch.export.load(path, extra_files=…)`` hand them out. The
latter decodes every one of them as UTF-8 and fails where it cannot, so that binary members of a ``.pt2``
are base64.
Sources: torch/csrc/jit/serialization/import.cpp; torch/export/pt2_archive/_package.py ``_load_extra_files``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from xport.archives import BROKEN
from xport.carriers import sidecar
from xport.carriers.limits import check_size, from_text, to_text
from xport.errors import UnreadableModelError

_ALIGNMENT = 64  # PyTorch maps tensors from the file: caffe2/serialize/inline_container.h, kFieldAlignment


def write(path: Path, names: Collection[str], members: Mapping[str, bytes]) -> None:
    """Put members into the archive; see `xport.carriers.write_members`."""
    root = _root(path)
    if root is None:
        sidecar.write(path, names, members)
        return
    ours = {f"{root}/extra/{name}" for name in names}
    with _open(path) as archive:
        taken = ours & set(archive.namelist())
    if taken:
        _drop(path, taken)
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in members.items():
            # A fixed date: the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(f"{root}/extra/{name}"), to_text(name, data))


def read(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read the members; see `xport.carriers.read_members`."""
    root, members = _root(path), {}
    if root is None:
        return sidecar.read(path, names)
    with _open(path) as archive:
        present = set(archive.namelist())
        for name in names:
            if f"{root}/extra/{name}" in present:
                info = archive.getinfo(f"{root}/extra/{name}")
                check_size(path, name, info.file_size)
                try:
                    data = archive.read(info)  # reads no more than file_size, whatever it unpacks to
                except BROKEN as error:
                    raise _broken(path, error) from error
                members[name] = from_text(path, name, data)
    return members


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except BROKEN as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> UnreadableModelError:
    return UnreadableModelError(
        f"{path} is a broken zip archive: {error}.", "It may be truncated; copy or save it again."
    )


def _root(path: Path) -> str | None:
    """The folder inside the archive that holds everything; None in the first ``.pt2`` files, which had none."""
    with _open(path) as archive:
        roots = {name.partition("/")[0] for name in archive.namelist()}
    return roots.pop() if len(roots) == 1 else None


def _drop(path: Path, names: set[str]) -> None:
    """Write the archive again without some members, everything else where PyTorch wants it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    os.close(handle)
    try:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(temporary, "w") as target:
            for info in source.infolist():
                if info.filename not in names:
                    _copy(source, target, info)
        shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _copy(source: zipfile.ZipFile, target: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    copy = zipfile.ZipInfo(info.filename, info.date_time)
    copy.compress_type, copy.file_size = info.compress_type, info.file_size
    big = info.file_size >= zipfile.ZIP64_LIMIT * 0.9
    # 30 bytes of header, the name, an extra field of four bytes and padding (20 more where zip64 adds its
    # own).
    position = target.fp.tell()  # type: ignore[union-attr]
    begin = position + 30 + len(info.filename.encode()) + 4 + (20 if big else 0)
    padding = -begin % _ALIGNMENT
    copy.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    with source.open(info) as reader, target.open(copy, "w", force_zip64=big) as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
