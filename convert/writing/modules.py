"""What a module is made of: the lines of ``__init__`` as trees, so that modules that are alike can share a class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from xport.convert.writing.blocks import Block
from xport.convert.writing.code import Layer, Var
from xport.convert.writing.scopes import Path
from xport.convert.writing.translator import Program, Weight


@dataclass(eq=False)
class Made:
    """An expression that makes a module.

    Attributes:
        kind: What is called: ``nn.Conv2d``, or fixed text in whole if there are no arguments to it.
        arguments: Name, value and default; values of a class of ours are filled in later.
        positional: How many arguments are given by position.
        children: Modules inside of it, given by position.
        block: The block that it stands for, if it is one of ours.
        fixed: Whether ``kind`` is the whole expression.
    """

    kind: str
    arguments: list[tuple[str, Any, Any]] = field(default_factory=list)
    positional: int = 2
    children: list[tuple[str, Made]] = field(default_factory=list)
    block: Block | None = None
    fixed: bool = False


@dataclass
class Setting:
    """One line of ``__init__``.

    Attributes:
        target: What is assigned, ``self.conv1``.
        made: What to; None for a weight.
        var: The weight.
        weight: Its content.
        holder: What a buffer is registered at.
    """

    target: str
    made: Made | None = None
    var: Var | None = None
    weight: Weight | None = None
    holder: str = "self"


class Tree:
    """The names inside a block: children, and folders of children that are no modules with a ``forward``.

    Args:
        block: The block.
        program: The program.
        blocks: Every block by its path.
    """

    def __init__(self, block: Block, program: Program, blocks: dict[Path, Block]) -> None:
        self._block = block
        self._nested: dict[str, Any] = {}
        self._program = program
        start = len(block.path)
        inner = {path for path in blocks if path[:start] == block.path and path != block.path}
        direct = [p for p in inner if not any(p[:n] in inner for n in range(start + 1, len(p)))]
        leaves: dict[Path, Any] = {path: blocks[path] for path in direct}
        for path, layer in program.layers.items():
            leaves[path] = layer
        for var in program.weights:
            if var.path is not None:
                leaves[var.path] = var
        first = _first_uses(block)
        for path, leaf in sorted(leaves.items(), key=lambda item: _rank(item[0], first)):
            inside = path[:start] == block.path and len(path) > start
            if inside and not any(path[: len(p)] == p and path != p for p in direct):
                self._place(path[start:], leaf)

    def _place(self, path: Path, leaf: Any) -> None:
        folder = self._nested
        for part in path[:-1]:
            folder = folder.setdefault(part, {})
        folder[path[-1]] = leaf

    def access(self, path: Path) -> str:
        """How something of a path is reached from ``self``."""
        text, folder = "self", self._nested
        kind = "module"
        for part in path[len(self._block.path) :]:
            if kind == "module" and part.isdigit():
                text = f'getattr({text}, "{part}")'
            else:
                text += f"[{part}]" if kind == "list" else f'["{part}"]' if kind == "dict" else f".{part}"
            inner = folder.get(part) if isinstance(folder, dict) else None
            if isinstance(inner, Block) and inner.chain:
                kind, folder = "list", {}
            else:
                folder = inner if isinstance(inner, dict) else {}
                kind = _folder_kind(folder) if isinstance(inner, dict) else "module"
        return text

    def settings(self) -> list[Setting]:
        """The lines of ``__init__``."""
        return self._settings(self._nested, self._block.path, "self")

    def _settings(self, folder: dict[str, Any], path: Path, holder: str) -> list[Setting]:
        found: list[Setting] = []
        for name in _sorted(folder):
            inner = folder[name]
            target = self.access((*path, name))
            if isinstance(inner, Var):
                found.append(Setting(target, var=inner, weight=self._program.weights[inner], holder=holder))
            elif isinstance(inner, dict):
                found.append(Setting(target, self._folder(inner), holder=holder))
                found += self._inside(inner, (*path, name), target)
            else:
                found.append(Setting(target, self.made(inner), holder=holder))
        return found

    def _inside(self, folder: dict[str, Any], path: Path, holder: str) -> list[Setting]:
        """What has to be put into a folder after it was made."""
        if _folder_kind(folder) == "module":
            return self._settings(folder, path, holder)
        found = []
        for name in _sorted(folder):
            if isinstance(folder[name], dict):
                inner = (*path, name)
                found += self._inside(folder[name], inner, self.access(inner))
        return found

    def _folder(self, folder: dict[str, Any]) -> Made:
        kind = _folder_kind(folder)
        if kind == "module":
            return Made("nn.Module()", fixed=True)
        children = [
            (name, self._folder(i) if isinstance(i, dict) else self.made(i))
            for name, i in ((n, folder[n]) for n in _sorted(folder))
        ]
        return Made("nn.ModuleList" if kind == "list" else "nn.ModuleDict", children=children)

    def made(self, child: Any) -> Made:
        """The expression that makes a child."""
        if isinstance(child, Layer):
            return Made(f"nn.{child.kind}", child.arguments, child.positional)
        return made_block(child)


def _first_uses(block: Block) -> dict[Path, int]:
    """By name, the first step that uses a child or a weight."""
    first: dict[Path, int] = {}
    for position, step in enumerate(block.steps):
        if isinstance(step, Block):
            first.setdefault(step.path, position)
            continue
        for item in step.code.operands():
            if isinstance(item, Layer) or (isinstance(item, Var) and item.path is not None):
                first.setdefault(item.path or (), position)
    return first


def _rank(path: Path, first: dict[Path, int]) -> int:
    return min((position for used, position in first.items() if used[: len(path)] == path), default=len(first))


def made_block(block: Block) -> Made:
    """The expression that makes a block: a sequence of its children, a module of PyTorch, or a class of ours."""
    if block.chain:
        children: list[tuple[str, Made]] = []
        for step in block.steps:
            name = step.path[-1] if isinstance(step, Block) else _layer(step).path[-1]
            while len(children) < int(name):
                children.append((str(len(children)), Made("nn.Identity()", fixed=True)))
            children.append((name, made_block(step) if isinstance(step, Block) else _made_layer(_layer(step))))
        return Made("nn.Sequential", children=children, block=block)
    if len(block.steps) == 1 and not isinstance(block.steps[0], Block) and block.steps[0].code.module:
        return Made(block.steps[0].code.module, fixed=True)
    return Made("", block=block)


def _layer(step: Any) -> Layer:
    return next(item for item in step.code.operands() if isinstance(item, Layer))


def _made_layer(layer: Layer) -> Made:
    return Made(f"nn.{layer.kind}", layer.arguments, layer.positional)


def _sorted(folder: dict[str, Any]) -> list[str]:
    """Numbers in their order, names as they came."""
    if all(name.isdigit() for name in folder):
        return sorted(folder, key=int)
    return list(folder)


def _folder_kind(folder: dict[str, Any]) -> str:
    if any(isinstance(inner, Var) for inner in folder.values()) or not all(name.isdigit() for name in folder):
        return "module"
    numbers = sorted(int(name) for name in folder)
    return "list" if numbers == list(range(len(numbers))) else "dict"
