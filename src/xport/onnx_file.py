"""What can be learned from an ONNX file without parsing it: its interface's shapes, and where its data lies.

Source: onnx/onnx.proto (``ModelProto.graph = 7``; ``GraphProto`` initializer = 5, input = 11, output = 12,
sparse_initializer = 15; ``TensorProto`` external_data = 13, data_location = 14).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from xport import wire
from xport.errors import UnreadableModelError

_GRAPH, _INITIALIZER, _INPUT, _OUTPUT, _EXTERNAL_DATA = 7, 5, 11, 12, 13
_NAME, _TYPE, _TENSOR_TYPE, _SHAPE, _KEY, _VALUE = 1, 2, 1, 2, 1, 2


def has_shape(path: Path, name: str) -> bool:
    """Whether an input or output of the graph has a shape; one without has an unknown rank.

    Args:
        path: An ONNX file.
        name: The input's or output's name.

    Returns:
        False if it is declared without a shape, or not declared.

    Raises:
        UnreadableModelError: If the file is broken.
    """
    with path.open("rb") as file:
        for field in _graph_fields(file, path):
            if field.number in (_INPUT, _OUTPUT) and _text(file, field, _NAME) == name:
                return any(
                    True
                    for kind in _inside(file, field, _TYPE)
                    for tensor in _inside(file, kind, _TENSOR_TYPE)
                    for _ in _inside(file, tensor, _SHAPE)
                )
    return False


def external_files(path: Path) -> list[str]:
    """The files that hold tensors outside the model, as its initializers name them.

    Args:
        path: An ONNX file.

    Returns:
        Locations without repetition, in order.

    Raises:
        UnreadableModelError: If the file is broken.
    """
    found: dict[str, None] = {}
    with path.open("rb") as file:
        for tensor in list(_graph_fields(file, path)):
            if tensor.number != _INITIALIZER:
                continue
            for entry in list(_inside(file, tensor, _EXTERNAL_DATA)):
                if _text(file, entry, _KEY) == "location":
                    found[_text(file, entry, _VALUE)] = None
    return list(found)


def check_external_data(path: Path) -> None:
    """Refuse a model whose external data would be read from outside its folder.

    Args:
        path: An ONNX file.

    Raises:
        UnreadableModelError: If a location is absolute, leads out of the folder, or is missing.
    """
    folder = path.parent.resolve()
    for location in external_files(path):
        target = locate(folder, location)
        if not target.is_relative_to(folder):
            raise UnreadableModelError(
                f"{path} asks for tensors from {location!r}, outside its folder.",
                "Such a file can read anything of yours; save it again with its data beside it.",
            )
        if not target.is_file():
            raise UnreadableModelError(
                f"{path} keeps tensors in {location!r}, which is not there.",
                f"Copy {location} into {folder}.",
            )


def locate(folder: Path, location: str) -> Path:
    """Where external data would be read from, links followed; whether it may be is for the caller to say.

    Args:
        folder: The model's folder, resolved.
        location: What the model calls the file.

    Returns:
        The path; it need not exist, nor lie in the folder.

    Raises:
        UnreadableModelError: If no file can be called so.
    """
    if "\0" in location:
        raise UnreadableModelError(f"The model keeps tensors in {location!r}, which no file can be called.")
    return (folder / location).resolve()


def _graph_fields(file: BinaryIO, path: Path) -> Iterator[wire.Field]:
    for field in list(wire.fields(file, 0, path.stat().st_size)):
        if field.number == _GRAPH:
            yield from wire.fields(file, field.value, field.end)


def _inside(file: BinaryIO, parent: wire.Field, number: int) -> Iterator[wire.Field]:
    return (field for field in list(wire.fields(file, parent.value, parent.end)) if field.number == number)


def _text(file: BinaryIO, parent: wire.Field, number: int) -> str:
    for field in _inside(file, parent, number):
        file.seek(field.value)
        return file.read(field.end - field.value).decode(errors="replace")
    return ""
