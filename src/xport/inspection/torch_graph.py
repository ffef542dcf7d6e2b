"""What is in the files of the PyTorch family. Runs in a worker: it loads them with PyTorch."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from xport import proof
from xport.convert.source import Source
from xport.convert.torch_loading import find_state, load_exported, load_module, read_safetensors
from xport.convert.torch_signature import derive_signature
from xport.convert.torch_values import dtype_of
from xport.errors import UsageError
from xport.formats import SOURCE_FILE, WEIGHTS_FILE, Content
from xport.inspection.findings import Findings, is_weight
from xport.signature import DTYPES, Signature


def find_in_torchscript(source: Source) -> Findings:
    """Look into a TorchScript archive.

    Args:
        source: The archive.

    Returns:
        What was found; operators are the node kinds of ``forward`` with all calls inlined.

    Raises:
        UnreadableModelError: If it is broken.
    """
    module: Any = load_module(source)
    signature, notes = _signature(source, module)
    return Findings(
        signature=signature,
        parameters=_count([*module.parameters(), *module.buffers()]),
        operators=dict(Counter(_kinds(module.inlined_graph))),
        details={"class": module.original_name, **_archive(source)},
        notes=notes,
    )


def find_in_program(source: Source) -> Findings:
    """Look into a ``.pt2`` file.

    Args:
        source: The file.

    Returns:
        What was found; operators are the targets of the graph's calls, those of inner graphs included.

    Raises:
        UnreadableModelError: If it is broken.
    """
    program = load_exported(source)
    signature, notes = _signature(source, load_module(source))
    targets = (
        str(node.target)
        for graph in program.graph_module.modules()
        if isinstance(graph, torch.fx.GraphModule)
        for node in graph.graph.nodes
        if node.op == "call_function"
    )
    return Findings(
        signature=signature,
        parameters=_count([*program.state_dict.values(), *_constants(program)]),
        operators=dict(Counter(targets)),
        details={"range_constraints": {str(k): str(v) for k, v in program.range_constraints.items()}},
        notes=notes,
    )


def find_in_module(source: Source) -> Findings:
    """Look into a state dict or a pickled module.

    Args:
        source: The file.

    Returns:
        What was found; operators are the classes of the innermost modules.

    Raises:
        UnreadableModelError: If it is broken.
        UntrustedCodeError: If looking into it would run code that it carries.
    """
    if source.content is Content.TORCH_SOURCE and not source.trust_pickle:
        return _unopened(source)
    state = None if source.arch else _state(source)
    if state is not None:
        tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
        return Findings(
            parameters=_count(tensors),
            details={"tensors": len(tensors), "first_keys": list(state)[:8]},
            notes=("A state dict has no interface; --arch package.module:factory shows the whole model.",),
        )
    module = load_module(source)
    signature, notes = _signature(source, module)
    leaves = (type(m).__name__ for m in module.modules() if not list(m.children()))
    return Findings(
        signature=signature,
        parameters=_count([*module.parameters(), *module.buffers()]),
        operators=dict(Counter(leaves)),
        details={"class": type(module).__name__},
        notes=notes,
    )


def _unopened(source: Source) -> Findings:
    """A folder of source code, looked at without running it."""
    tensors = read_safetensors(Path(str(source.path)) / WEIGHTS_FILE)
    return Findings(
        signature=proof.read_signature(source.path, source.format) if source.path else None,
        parameters=_count(tensors.values()),
        details={"tensors": len(tensors), "first_keys": list(tensors)[:8]},
        notes=(f"{SOURCE_FILE} was not run; --trust-pickle shows the layers too.",),
    )


def _state(source: Source) -> dict[str, Any] | None:
    """The tensors of a state dict; None if the file holds something else, which `load_module` then judges."""
    if source.content is Content.SAFETENSORS:
        return read_safetensors(Path(str(source.path)))
    try:
        return find_state(torch.load(str(source.path), map_location="cpu", weights_only=True))
    except Exception:  # whatever is wrong with it, load_module says so better
        return None


def _signature(source: Source, module: Any) -> tuple[Signature | None, tuple[str, ...]]:
    recorded = proof.read_signature(source.path, source.format) if source.path else None
    if recorded is not None and not source.inputs:
        return recorded, ()
    try:
        return derive_signature(source, module), ()
    except UsageError as error:
        return None, (str(error),)


def _count(tensors: Iterable[Any]) -> int:
    """The numbers in distinct tensors; shared ones count once."""
    distinct = {(t.data_ptr() or id(t), tuple(t.shape)): t for t in tensors}
    total = 0
    for tensor in distinct.values():
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype in DTYPES and is_weight(dtype_of(tensor), tuple(tensor.shape)):
            total += tensor.numel()
    return total


def _constants(program: torch.export.ExportedProgram) -> list[torch.Tensor]:
    return [value for value in program.constants.values() if isinstance(value, torch.Tensor)]


def _kinds(graph: Any) -> Iterator[str]:
    """Node kinds of a TorchScript graph or block, blocks inside nodes included."""
    for node in graph.nodes():
        yield node.kind()
        for block in node.blocks():
            yield from _kinds(block)


def _archive(source: Source) -> dict[str, Any]:
    with zipfile.ZipFile(str(source.path)) as archive:
        code = [name for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
    return {"code_files": len(code)}
