"""Where in the original each node stood, told from what exporters leave behind.

`torch.onnx` records the chain of modules of every node (``pkg.torch.onnx.name_scopes`` and ``class_hierarchy``); its
older form names nodes ``/layer1/layer1.0/conv1/Conv``; TensorFlow names them ``model/block1/conv/Conv2D``; and weights
are called ``layer1.0.conv1.weight`` or ``block1/conv/kernel``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

import onnx_ir as ir

from xport.convert.lowering.model import walk
from xport.convert.writing.names import child_name, class_name, singular

Path = tuple[str, ...]

_SCOPES, _CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
_COMPOSITES = re.compile(r"torch\.nn\.modules\.(container\.|transformer\.|activation\.MultiheadAttention)")
_ROLES = re.compile(
    r"(weight|bias|kernel|gamma|beta|embeddings?|depthwise_kernel|[wbr]|scale|offset|alpha|filters?|weights?"
    r"|moving_(mean|variance)|running_(mean|var))(_\w\w?\d+(_reverse)?|:\d+)?$",
    re.IGNORECASE,
)
_MEANINGLESS = re.compile(
    r"(onnx::.*|val_?\d+.*|const(ant)?[_\d]*.*|_?tensor_?\d*|t?\d+|.*\bReadVariableOp\b.*|getitem.*|.*_output_\d+|\w+_\d+)$",
    re.IGNORECASE,
)


class Scopes:
    """The modules of the original.

    Args:
        graph: The graph.

    Attributes:
        classes: By dotted name of a module, the name of its class, where that is recorded.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.classes: dict[Path, str] = {}
        self._of: dict[ir.Node, Path] = {}
        self._module: dict[ir.Node, Path] = {}
        for node in walk(graph):
            self._read(node)
        self._counts: dict[tuple[Path, str], int] = {}

    def _read(self, node: ir.Node) -> None:
        recorded = node.metadata_props.get(_SCOPES)
        if recorded is not None:
            chain, classes = _list(recorded), _list(node.metadata_props.get(_CLASSES, "[]"))
            self._from_record(node, chain[:-1], classes)
            return
        module = _from_name(node.name or "")
        self._module[node], self._of[node] = module, module[:-1]

    def _from_record(self, node: ir.Node, chain: list[str], classes: list[str]) -> None:
        module: Path = ()
        scope: Path = ()
        for position, name in enumerate(chain):
            kind = classes[position] if position < len(classes) else ""
            if name.startswith("_empty_nn_module_stack"):
                continue
            module = _split(name.partition("@")[0])
            leaf = kind.startswith("torch.nn.modules.") and not _COMPOSITES.match(kind)
            self.classes.setdefault(module, kind.rpartition(".")[2])
            if not leaf or (module and module[-1].isdigit()):
                scope = module
        self._module[node], self._of[node] = module, scope

    def of(self, node: ir.Node) -> Path:
        """The module whose ``forward`` a node stands in; the one around for modules of a single operation."""
        return self._of.get(node, ())

    def weight_path(self, value: ir.Value, node: ir.Node | None, *, trained: bool) -> Path:
        """The dotted name of a weight that stays by itself."""
        name = value.name or "weight"
        if not _MEANINGLESS.match(name) and not name.startswith("_"):
            return _split(name)
        scope = self._of.get(node, ()) if node is not None else ()
        return (*scope, "weight" if trained else "constant")

    def layer_path(self, node: ir.Node, kind: str, weights: Sequence[ir.Value]) -> Path:
        """The dotted name of a layer: what its weights are called, or the module that its node stood in."""
        for value in weights:
            path = _owner(origin(value))
            if path:
                return path
        if self._module.get(node):
            return self._module[node]
        scope = self._of.get(node, ())
        base = re.sub(r"(\d?d)?$", "", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind)).lower()
        number = self._counts[scope, base] = self._counts.get((scope, base), 0) + 1
        return (*scope, f"{base}{number}")


def _list(text: str) -> list[str]:
    """What an exporter recorded as a Python list of texts; only literals are read."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(item) for item in found] if isinstance(found, list) else []


def _split(name: str) -> Path:
    return tuple(child_name(part) for part in re.split(r"[./]", name) if part)


def _from_name(name: str) -> Path:
    """The module of a node called ``/layer1/layer1.0/conv1/Conv``; components that repeat the one before are one."""
    parts = name.strip("/").split("/")[:-1] if "/" in name else []
    path: list[str] = []
    before = ""
    for part in parts:
        if part.lower().endswith(("partitionedcall", "readvariableop")) or not part:
            continue
        own = part.removeprefix(f"{before}.") if before and part.startswith(f"{before}.") else part
        path += [piece for piece in own.split(".") if piece]
        before = part
    return tuple(child_name(piece) for piece in path)


def around(paths: Sequence[Path]) -> Path:
    """The innermost module around some."""
    shared = paths[0]
    for path in paths[1:]:
        shared = shared[: next((i for i, (a, b) in enumerate(zip(shared, path, strict=False)) if a != b), len(path))]
    return shared


def origin(value: ir.Value) -> ir.Value:
    """The weight that a constant is a view of."""
    node = value.producer()
    while node is not None and node.op_type in ("Transpose", "Identity", "Reshape", "Cast", "Squeeze", "Unsqueeze"):
        if node.inputs[0] is None:
            break
        value = node.inputs[0]
        node = value.producer()
    return value


def _owner(value: ir.Value) -> Path:
    """The module that a weight's name tells; nothing where the name tells none."""
    name = value.name or ""
    if "." not in name and "/" not in name:
        return ()
    front, _, last = re.sub(r"/(Read(VariableOp)?|ReadVariableOp).*$", "", name).replace("/", ".").rpartition(".")
    if re.fullmatch(r"onnx::.*|.*_output_\d+", name) or not front:
        return ()
    if _ROLES.match(last):
        return _split(front)
    return (*_split(front), child_name(re.sub(r"_(weight|kernel)$", "", last)))


def block_name(path: Path) -> str:
    """A name for the class of a module whose own is not recorded, after where it stands."""
    words = [part for part in path if not part.isdigit()]
    if not words:
        return "Block"
    return class_name(singular(words[-1]) if path[-1].isdigit() else words[-1])
