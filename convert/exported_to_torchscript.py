"""Exported programs to TorchScript: the same operators in the same order, with sizes still computed.

A trace of a program would fix its sizes, because they are plain numbers there. Its graph is compiled instead.
"""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.torch_exported import FlatProgram
from xport.errors import ConversionError

_ASSERTIONS = frozenset(
    {
        "aten._assert_scalar",
        "aten._assert_tensor_metadata",
        "aten._assert_async",
        "aten.sym_constrain_range",
        "aten.sym_constrain_range_for_size",
    }
)
"""Checks without a value; those on sizes take types that TorchScript does not have."""


def script_program(module: FlatProgram) -> torch.jit.ScriptModule:
    """Compile an exported program with TorchScript.

    Args:
        module: What `load_module` gave for a ``.pt2`` file.

    Returns:
        A scripted module that takes the program's tensors in order and returns its output tensors in order. The
        caller must check it against the program.

    Raises:
        ConversionError: If the program has constant inputs.
    """
    placeholders = [node for node in module.program.graph.nodes if node.op == "placeholder"]
    if len(placeholders) != len(module.names):
        raise ConversionError("TorchScript takes no program with constants among its inputs.")
    names = dict(zip(placeholders, module.names, strict=True))
    graph = torch.fx.Graph()  # a new one writes a plain forward, without the original's containers
    copies: dict[torch.fx.Node, torch.fx.Node] = {}
    for node in module.program.graph.nodes:
        if str(node.target) in _ASSERTIONS or _packet_name(node.target) in _ASSERTIONS:
            continue
        copies[node] = graph.node_copy(node, lambda original: copies[original])
        if node in names:
            copies[node].target = names[node]
        copies[node].target = _scriptable(copies[node].target)
    graph.eliminate_dead_code()
    script: torch.jit.ScriptModule = torch.jit.script(torch.fx.GraphModule(module.program, graph))
    return script


def _packet_name(target: Any) -> str:
    return str(target.overloadpacket) if isinstance(target, torch._ops.OpOverload) else ""


def _scriptable(target: Any) -> Any:
    """An operator as TorchScript's compiler knows it: by its family's name, the overload told by the arguments."""
    if not isinstance(target, torch._ops.OpOverload):
        return target
    return torch.ops.aten.size if target is torch.ops.aten.sym_size.int else target.overloadpacket
