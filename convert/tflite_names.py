"""Names inside a TFLite file, changed in place.

TensorFlow's converter sorts the signature by name and prefixes tensors with ``serving_default_``. A FlatBuffer string
is reached by a forward offset, so a new name is appended to the file and the four bytes that point at the old one are
rewritten: nothing else moves, whatever the size of the weights. Source: tensorflow/lite/schema/schema.fbs
(SignatureDef, TensorMap, Tensor) and https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

_TENSOR_NAME = 10
"""vtable offset of Tensor.name: the fourth field."""
_MAP_NAME = 4
"""vtable offset of TensorMap.name: the first field."""


_SUBGRAPH_INPUTS, _SUBGRAPH_OUTPUTS = 6, 8
"""vtable offsets of SubGraph.inputs and SubGraph.outputs."""
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS = 4, 6
"""vtable offsets of SignatureDef.inputs and SignatureDef.outputs."""


def rename(model: bytes, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> bytes:
    """Give a TFLite file's signature and tensors the model's own names, in the model's own order.

    Args:
        model: The file.
        inputs: The wanted name by the signature's present one, in the wanted order.
        outputs: Likewise.

    Returns:
        The file with names and order changed.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = bytearray(model)
    root = schema.Model.GetRootAs(model, 0)
    signature = root.SignatureDefs(0)
    graph = root.Subgraphs(signature.SubgraphIndex())
    sides = (
        (signature.InputsLength(), signature.Inputs, inputs, _SIGNATURE_INPUTS, _SUBGRAPH_INPUTS),
        (signature.OutputsLength(), signature.Outputs, outputs, _SIGNATURE_OUTPUTS, _SUBGRAPH_OUTPUTS),
    )
    for count, entry, names, signature_field, graph_field in sides:
        entries = {entry(i).Name().decode(): entry(i) for i in range(count)}
        ordered = [entries[key] for key in names if key in entries]
        for item, name in zip(ordered, (names[key] for key in names if key in entries), strict=True):
            _repoint(data, item._tab, _MAP_NAME, name)
            _repoint(data, graph.Tensors(item.TensorIndex())._tab, _TENSOR_NAME, name)
        _reorder_tables(data, signature._tab, signature_field, [item._tab.Pos for item in ordered])
        _reorder_numbers(data, graph._tab, graph_field, [item.TensorIndex() for item in ordered])
    return bytes(data)


def _reorder_tables(data: bytearray, table: Any, field: int, positions: list[int]) -> None:
    """Rewrite a vector of tables, whose elements are offsets relative to themselves."""
    start = table.Vector(table.Offset(field))
    for i, position in enumerate(positions):
        struct.pack_into("<I", data, start + 4 * i, position - (start + 4 * i))


def _reorder_numbers(data: bytearray, table: Any, field: int, numbers: list[int]) -> None:
    """Rewrite a vector of int32, if it holds exactly these numbers in another order."""
    offset = table.Offset(field)
    start, length = table.Vector(offset), table.VectorLen(offset)
    present = list(struct.unpack_from(f"<{length}i", data, start))
    if sorted(present) == sorted(numbers):
        struct.pack_into(f"<{length}i", data, start, *numbers)


def _repoint(data: bytearray, table: Any, field: int, name: str) -> None:
    """Append a string and make a table's field point at it."""
    offset = table.Offset(field)
    if not offset:
        return  # the table has no such string: there is nothing to change
    place = table.Pos + offset
    data.extend(b"\0" * (-len(data) % 4))
    struct.pack_into("<I", data, place, len(data) - place)
    text = name.encode()
    data.extend(struct.pack("<I", len(text)) + text + b"\0")
