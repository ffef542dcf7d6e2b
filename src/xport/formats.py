"""The formats xport knows, and how a file is told apart by its content, never by its ending."""

from __future__ import annotations

import enum
import os
import zipfile
from pathlib import Path

from xport import archives
from xport.errors import UnreadableModelError, UsageError
from xport.foreign import recognise, recognise_folder


class Format(enum.Enum):
    """A way to store a model."""

    PYTORCH = "pytorch"  # a live nn.Module, a pickled one, or a state dict with the code that builds it
    EXPORTED = "exported"  # torch.export's .pt2
    TORCHSCRIPT = "torchscript"
    ONNX = "onnx"
    SAVEDMODEL = "savedmodel"
    KERAS = "keras"
    TFLITE = "tflite"
    SERVED = "served"  # an endpoint; nothing is stored here, but it can be asked

    @property
    def suffix(self) -> str:
        """The usual file ending; empty for formats that are folders."""
        return _SUFFIXES[self]

    @classmethod
    def parse(cls, name: str) -> Format:
        """A format by its name or a common alias (``pt2``, ``tf``, ``.onnx``).

        Raises:
            UsageError: If no format has that name.
        """
        key = name.lower().lstrip(".")
        stored = {f.value: f for f in cls if f is not cls.SERVED}
        try:
            return stored[_ALIASES.get(key, key)]
        except KeyError as error:
            known = ", ".join(stored)
            raise UsageError(f"Unknown format {name!r}.", f"Use one of {known}.") from error


_SUFFIXES = {
    Format.PYTORCH: ".pt",
    Format.EXPORTED: ".pt2",
    Format.TORCHSCRIPT: ".pt",
    Format.ONNX: ".onnx",
    Format.SAVEDMODEL: "",
    Format.KERAS: ".keras",
    Format.TFLITE: ".tflite",
    Format.SERVED: "",
}
_ALIASES = {
    "torch": "pytorch",
    "pt2": "exported",
    "export": "exported",
    "ts": "torchscript",
    "jit": "torchscript",
    "saved_model": "savedmodel",
    "tf": "savedmodel",
    "tensorflow": "savedmodel",
    "lite": "tflite",
    "litert": "tflite",
    "h5": "keras",
}


class Content(enum.Enum):
    """What a file or folder was found to hold; finer than `Format`, because PyTorch saves several things."""

    TORCHSCRIPT = "torchscript"
    EXPORTED = "exported"
    TORCH_PICKLE = "torch pickle"  # a state dict, a pickled module, or any other object
    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    SAVEDMODEL = "savedmodel"
    KERAS = "keras"
    TFLITE = "tflite"
    TORCH_SOURCE = "pytorch source"  # a folder with model.py and model.safetensors


SOURCE_FILE, WEIGHTS_FILE = "model.py", "model.safetensors"
"""What a folder of PyTorch source holds."""

FORMAT_OF_CONTENT = {
    Content.TORCHSCRIPT: Format.TORCHSCRIPT,
    Content.EXPORTED: Format.EXPORTED,
    Content.TORCH_PICKLE: Format.PYTORCH,
    Content.SAFETENSORS: Format.PYTORCH,
    Content.ONNX: Format.ONNX,
    Content.SAVEDMODEL: Format.SAVEDMODEL,
    Content.KERAS: Format.KERAS,
    Content.TFLITE: Format.TFLITE,
    Content.TORCH_SOURCE: Format.PYTORCH,
}


def detect(path: Path) -> Content:
    """Tell what a file or folder holds from its bytes.

    Args:
        path: A model file, or a SavedModel folder.

    Returns:
        What it holds.

    Raises:
        UnreadableModelError: If it is missing, empty, or not a model.
    """
    try:
        if not path.exists():
            raise UnreadableModelError(f"{path} does not exist.", "Check the path; `ls` its folder.")
        if path.is_dir():
            return _detect_folder(path)
        if not path.is_file():
            raise UnreadableModelError(f"{path} is neither a file nor a folder.")
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise UnreadableModelError(f"{path} cannot be read: {error.strerror}.") from error
    if not head:
        raise UnreadableModelError(f"{path} is empty.", "Save the model again; the write may have been cut short.")
    return _detect_bytes(path, head)


def spelled_in_utf8(path: Path) -> Path:
    """A path that native libraries can open: they take names of files as UTF-8, and nothing else.

    Args:
        path: Any path; it is looked at from the root on.

    Returns:
        The path as it is.

    Raises:
        UsageError: If a part of it is not UTF-8, or not what this process's locale lets Python read as text.
    """
    try:
        os.path.abspath(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="backslashreplace").decode()
        raise UsageError(
            f"The path {shown} is not UTF-8 text, which the frameworks need to open it.",
            "Rename the file or folder; where the locale is not UTF-8, set PYTHONUTF8=1 before Python starts.",
        ) from error
    return path


def _detect_folder(path: Path) -> Content:
    if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
        return Content.SAVEDMODEL
    if (path / SOURCE_FILE).is_file() and (path / WEIGHTS_FILE).is_file():
        return Content.TORCH_SOURCE
    if foreign := recognise_folder(path):
        raise UnreadableModelError(f"{path} is {foreign.name}.", foreign.fix)
    raise UnreadableModelError(
        f"{path} is a folder without saved_model.pb, and without {SOURCE_FILE} and {WEIGHTS_FILE}.",
        "Name a model file, a SavedModel folder (for TF Serving's layout, the version folder inside), or a folder "
        "of PyTorch source.",
    )


def _detect_bytes(path: Path, head: bytes) -> Content:
    if head[4:8] == b"TFL3":
        return Content.TFLITE
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Content.KERAS
    if head.startswith(b"PK\x03\x04"):
        return _detect_zip(path)
    if _is_legacy_torch(head):
        return Content.TORCH_PICKLE
    if _is_safetensors(path, head):
        return Content.SAFETENSORS
    if foreign := recognise(path, head):
        raise UnreadableModelError(f"{path} is {foreign.name}.", foreign.fix)
    if _is_onnx(head):
        return Content.ONNX
    raise UnreadableModelError(
        f"{path} is not a model that xport knows: it begins with {head[:16]!r}.",
        "Known are PyTorch (.pt, .pt2, .safetensors), ONNX, SavedModel, Keras and TFLite files.",
    )


def _detect_zip(path: Path) -> Content:
    try:
        with zipfile.ZipFile(path) as archive:
            archives.check_members(path, archive)
            members = [name.partition("/")[2] or name for name in archive.namelist()]
            names = set(archive.namelist())
    except archives.BROKEN as error:
        raise UnreadableModelError(
            f"{path} is a broken zip archive: {error}.", "It may be truncated; copy or save it again."
        ) from error
    if "constants.pkl" in members and any(m.startswith("code/") for m in members):
        return Content.TORCHSCRIPT
    if "archive_format" in members or "serialized_exported_program.json" in names:
        return Content.EXPORTED
    if any(m.startswith("models/") and m.endswith(".json") for m in members):
        return Content.EXPORTED
    if "data.pkl" in members:
        return Content.TORCH_PICKLE
    if {"config.json", "metadata.json"} <= names:
        return Content.KERAS
    raise UnreadableModelError(
        f"{path} is a zip archive, but holds no TorchScript, torch.export, PyTorch or Keras model.",
        "Unpack it if it is an archive around a model.",
    )


def _is_legacy_torch(head: bytes) -> bool:
    """PyTorch before 1.6 wrote bare pickles that begin with a magic long; tarballs before that."""
    return head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Eight bytes of header length, then a JSON object (https://github.com/huggingface/safetensors)."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= path.stat().st_size - 8


def _is_onnx(head: bytes) -> bool:
    """A ModelProto, told by its first protobuf field: ir_version (1, varint) first, or another known field.

    Source: onnx/onnx.proto, message ModelProto. Serializers write fields in ascending order, so a real file
    begins with field 1; files without it (it is optional in proto2) begin with one of fields 2 to 8.
    """
    if head[0] == 0x08:
        return len(head) > 2 and head[1] < 0x80 and head[2] in (0x10, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
    return head[0] in (0x12, 0x3A) and b"\x0a" in head[:64] and not head[:64].isascii()
