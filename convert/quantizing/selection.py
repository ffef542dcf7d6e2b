"""Which nodes ``--keep-float`` means: by the node's name, its module's path, or a pattern of either."""

from __future__ import annotations

import ast
import difflib
import fnmatch
from collections.abc import Iterable, Sequence

import onnx_ir as ir

from xport.errors import UsageError

_SCOPES = "pkg.torch.onnx.name_scopes"


def select(graph: ir.Graph, wanted: Sequence[str]) -> list[str]:
    """Find the nodes that the user means.

    Args:
        graph: The graph; its nodes have names.
        wanted: Names, paths of modules (all nodes inside are meant), or shell patterns.

    Returns:
        Names of nodes, in the graph's order.

    Raises:
        UsageError: If one fits nothing; the nearest names are listed.
    """
    labels = {str(node.name): labels_of(node) for node in graph}
    found: set[str] = set()
    for name in wanted:
        fits = {node for node, known in labels.items() if any(_fits(name, label) for label in known)}
        if not fits:
            raise _unknown(name, [label for known in labels.values() for label in known])
        found |= fits
    return [node for node in labels if node in found]


def labels_of(node: ir.Node) -> list[str]:
    """What a user may call a node: its name, its module's path, and the paths that its weights' names begin with."""
    labels = [str(node.name)]
    scopes = node.metadata_props.get(_SCOPES, "")
    if scopes:
        labels += [str(scope) for scope in ast.literal_eval(scopes)[:-1] if scope]
    for value in node.inputs:
        if value is not None and value.is_initializer() and "." in (value.name or ""):
            labels.append(str(value.name).rpartition(".")[0])
    return list(dict.fromkeys(labels))


def _fits(wanted: str, label: str) -> bool:
    inside = any(label.startswith(wanted.rstrip("./") + mark) for mark in "./")
    return label == wanted or inside or fnmatch.fnmatchcase(label, wanted)


def _unknown(name: str, labels: Iterable[str]) -> UsageError:
    known = list(dict.fromkeys(labels))
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or known[:5]
    return UsageError(f"--keep-float {name!r} fits no node and no module.", f"Near are: {', '.join(near)}.")
