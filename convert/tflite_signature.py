"""The interface of a TFLite file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xport.convert.importing.tflite_file import File, text
from xport.convert.symbols import with_batch
from xport.formats import Format
from xport.signature import Signature, TensorSpec
from xport.validate.runners.interface import reconcile, shape_from

_DEFAULT = "serving_default"


def read_signature(path: Path) -> Signature:
    """Names, dtypes and shapes of the inputs and outputs of a TFLite file's main graph.

    Args:
        path: The file.

    Returns:
        The default signature, or the main graph by the names of its tensors; order and symbols as the artifact
        records them if xport made it. A leading size that may vary is called ``batch``.

    Raises:
        UnreadableModelError: If it is broken.
        UnsupportedError: If it has a dtype that xport lacks.
    """
    return signature_of(File(path))


def signature_of(file: File) -> Signature:
    """The interface of an opened file; see `read_signature`."""
    inputs, outputs = interface(file)
    graph = file.model.subgraphs[0]
    found = Signature(
        tuple(_spec(file, name, graph.tensors[i]) for name, i in inputs.items()),
        tuple(_spec(file, name, graph.tensors[i]) for name, i in outputs.items()),
    )
    return reconcile(with_batch(found), file.path, Format.TFLITE)


def interface(file: File) -> tuple[dict[str, int], dict[str, int]]:
    """The tensors of the main graph's inputs and outputs by name, in the graph's order."""
    graph = file.model.subgraphs[0]
    signatures = {text(s.signatureKey): s for s in file.model.signatureDefs or () if s.subgraphIndex == 0}
    chosen = signatures.get(_DEFAULT) or next(iter(signatures.values()), None)
    if chosen is None:
        return _by_tensor(graph, graph.inputs), _by_tensor(graph, graph.outputs)
    return _by_map(graph, chosen.inputs, graph.inputs), _by_map(graph, chosen.outputs, graph.outputs)


def _by_tensor(graph: Any, indices: Any) -> dict[str, int]:
    return {text(graph.tensors[i].name): int(i) for i in (indices if indices is not None else ())}


def _by_map(graph: Any, entries: Any, indices: Any) -> dict[str, int]:
    order = [int(i) for i in (indices if indices is not None else ())]
    found = [(text(entry.name), int(entry.tensorIndex)) for entry in entries or ()]
    rank = {index: place for place, index in reversed(list(enumerate(order)))}
    return dict(sorted(found, key=lambda pair: rank.get(pair[1], len(order))))


def _spec(file: File, name: str, tensor: Any) -> TensorSpec:
    sizes = file.sizes(tensor)
    return TensorSpec(name, file.dtype(tensor), shape_from(name, sizes))
