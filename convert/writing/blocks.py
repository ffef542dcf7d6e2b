"""Statements put into modules: those of the original, as far as they can be called as one."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from xport.convert.writing.code import Device, Dim, Layer, Leaf, Var
from xport.convert.writing.control import drop_unused
from xport.convert.writing.scopes import Path, block_name
from xport.convert.writing.translator import Program, Statement


@dataclass(eq=False)
class Block:
    """A module with a ``forward`` of its own.

    Attributes:
        path: Its dotted name.
        kind: What its class would be called.
        inputs: What its ``forward`` takes, in order.
        outputs: What it gives, in order.
        steps: Statements and calls of other blocks, in an order in which they can be run.
        chain: Whether it does nothing but call its numbered children one after the other.
    """

    path: Path
    kind: str
    inputs: list[Var] = field(default_factory=list)
    outputs: list[Var] = field(default_factory=list)
    steps: list[Statement | Block] = field(default_factory=list)
    chain: bool = False


def used(step: Statement | Block) -> Iterator[Var | Dim | Device]:
    """What a step uses."""
    if isinstance(step, Block):
        yield from step.inputs
    else:
        yield from (item for item in step.code.operands() if not isinstance(item, Layer))


def made(step: Statement | Block) -> list[Var]:
    """What a step gives."""
    return step.outputs if isinstance(step, Block) else step.outs


def arrange(program: Program) -> Block:
    """Put the statements of a program into modules.

    Args:
        program: The program; unused statements are dropped, colliding names of layers changed.

    Returns:
        The outermost module.
    """
    _drop_unused(program)
    _settle_names(program)
    flat: set[Path] = set()
    while True:
        builder = _Builder(program, flat)
        root = builder.build()
        wrong = builder.not_callable(root)
        if not wrong:
            return root
        flat |= wrong


def _drop_unused(program: Program) -> None:
    needed = set(program.outputs)
    kept = program.statements = drop_unused(program.statements, needed)
    layers = {item.path for s in kept for item in s.code.operands() if isinstance(item, Layer)}
    program.layers = {path: layer for path, layer in program.layers.items() if path in layers}
    program.weights = {var: weight for var, weight in program.weights.items() if var in needed}


def _settle_names(program: Program) -> None:
    """No layer or weight has the name of something that others are inside of."""
    paths = [*program.layers, *(var.path for var in program.weights if var.path is not None)]
    folders = {path[:i] for path in paths for i in range(1, len(path))}
    folders |= {s.scope[:i] for s in program.statements for i in range(1, len(s.scope) + 1)} - set(program.layers)
    for layer in list(program.layers.values()):
        if layer.path in folders:
            layer.path = (*layer.path[:-1], f"{layer.path[-1]}_layer" if not layer.path[-1].isdigit() else "layer")
    program.layers = {layer.path: layer for layer in program.layers.values()}
    for var in program.weights:
        if var.path is not None and (var.path in folders or var.path in program.layers):
            var.path = (*var.path[:-1], f"{var.path[-1]}_weight")
    for statement in program.statements:
        while statement.scope in program.layers:
            statement.scope = statement.scope[:-1]


class _Builder:
    """One attempt, with some modules known not to be callable.

    Args:
        program: The program.
        flat: Modules whose statements belong to the one around.
    """

    def __init__(self, program: Program, flat: set[Path]) -> None:
        self._program = program
        self._statements = program.statements
        self._flat = set(flat)
        self._maker = {var: i for i, s in enumerate(self._statements) for var in s.outs}
        self._users: dict[int, set[int]] = {i: set() for i in range(len(self._statements))}
        for i, statement in enumerate(self._statements):
            for item in statement.code.operands():
                if isinstance(item, Var) and item in self._maker:
                    self._users[self._maker[item]].add(i)
        scopes = {s.scope[:n] for s in self._statements for n in range(1, len(s.scope) + 1)}
        self._holding = {path[:n] for path in self._held() for n in range(1, len(path))}
        for path in sorted(scopes, key=len, reverse=True):
            named_leaf = path not in self._holding and not path[-1].isdigit()
            if path not in self._flat and (named_leaf or not self._is_one(path)):
                self._flat.add(path)

    def _held(self) -> Iterator[Path]:
        yield from self._program.layers
        yield from (var.path for var in self._program.weights if var.path is not None)

    def _is_one(self, path: Path) -> bool:
        """Whether the statements of a module can run together: nothing that they need needs them."""
        inside = {i for i, s in enumerate(self._statements) if s.scope[: len(path)] == path}
        last = max(inside)
        reached = {j for i in inside for j in self._users[i] if j not in inside and j < last}
        queue = list(reached)
        while queue:
            for j in self._users[queue.pop()]:
                if j in inside:
                    return False
                if j < last and j not in reached:
                    reached.add(j)
                    queue.append(j)
        return True

    def _home(self, scope: Path) -> Path:
        """The innermost module that statements of a scope are part of."""
        homes = [scope[:n] for n in range(len(scope) + 1) if n == 0 or scope[:n] not in self._flat]
        return homes[-1]

    def build(self) -> Block:
        members: dict[Path, list[int]] = {}
        for i, statement in enumerate(self._statements):
            home = self._home(statement.scope)
            while True:
                members.setdefault(home, [])
                if not home:
                    break
                home = self._home(home[:-1])
            members[self._home(statement.scope)].append(i)
        blocks: dict[Path, Block] = {}
        for path in sorted(members, key=len, reverse=True):
            kind = self._program.classes.get(path) or block_name(path)
            children = [b for p, b in blocks.items() if self._home(p[:-1]) == path and p != path]
            block = Block(path, kind)
            own: list[tuple[int, Statement | Block]] = [(i, self._statements[i]) for i in members[path]]
            own += [(self._first(child), child) for child in children]
            block.steps = _ordered(own)
            blocks[path] = block
            self._bound(block)
        root = blocks.get((), Block((), "Model"))
        root.inputs, root.outputs = self._program.inputs, self._program.outputs
        return root

    def _first(self, block: Block) -> int:
        return min(self._maker[var] for step in block.steps for var in made(step))

    def _bound(self, block: Block) -> None:
        """Find what a block takes and gives, and read sizes and devices off what it has at hand."""
        inside = {var for step in block.steps for var in made(step)}
        inputs: dict[Var, None] = {}
        for step in block.steps:
            for item in used(step):
                if isinstance(item, Var) and item not in inside and not held_by(block, item):
                    inputs[item] = None
        if block.path:
            self._localise(block, inside, inputs)
        block.inputs = list(inputs)
        wanted = set(self._program.outputs)
        outside = {
            item if isinstance(item, Var) else item.var
            for statement in self._statements
            if statement.scope[: len(block.path)] != block.path or not block.path
            for item in statement.code.operands()
            if not isinstance(item, Layer)
        }
        block.outputs = [v for step in block.steps for v in made(step) if v in wanted or v in outside]
        block.chain = self._chain(block)

    def _localise(self, block: Block, inside: set[Var], inputs: dict[Var, None]) -> None:
        seen: list[Var] = list(inputs)
        for step in block.steps:
            if isinstance(step, Statement):
                step.code = step.code.mapped(partial(_local, inside=inside, inputs=inputs, seen=tuple(seen)))
            seen += made(step)

    def _chain(self, block: Block) -> bool:
        """Whether a block is what `nn.Sequential` does."""
        if len(block.inputs) != 1 or len(block.outputs) != 1 or not block.path:
            return False
        at, number = block.inputs[0], -1
        for step in block.steps:
            name = child_of(step)
            if name is None or not name.isdigit() or not number < int(name) <= number + 8 or len(made(step)) != 1:
                return False
            if list(used(step)) != [at]:
                return False
            at, number = made(step)[0], int(name)
        names = [path[len(block.path)] for path in self._held() if path[: len(block.path)] == block.path]
        steps = {child_of(step) for step in block.steps}
        return at is block.outputs[0] and set(names) <= steps

    def not_callable(self, block: Block) -> set[Path]:
        """Modules that are lists of others, and single operations outside of chains."""
        wrong: set[Path] = set()
        numbered = [step for step in block.steps if (child_of(step) or "x").isdigit()]
        if block.path and numbered and len(numbered) == len(block.steps) and not block.chain:
            wrong.add(block.path)
        for step in block.steps:
            if isinstance(step, Block):
                wrong |= self.not_callable(step)
                if not block.chain and step.path not in self._holding:
                    wrong.add(step.path)
        return wrong


def held_by(block: Block, var: Var) -> bool:
    """Whether a weight is inside of a block."""
    return var.path is not None and var.path[: len(block.path)] == block.path


def child_of(step: Statement | Block) -> str | None:
    """The last part of the name of the one module that a step calls."""
    if isinstance(step, Block):
        return step.path[-1]
    layers = [item for item in step.code.operands() if isinstance(item, Layer)]
    others = len(list(step.code.operands())) - len(layers)
    text = "".join(part for part in step.code.parts if isinstance(part, str))
    simple = len(layers) == 1 and others == 1 and text == "()"
    return layers[0].path[-1] if simple and step.scope == layers[0].path[:-1] else None


def passage(step: Statement | Block) -> tuple[Block | Layer, Var, Var] | None:
    """The child that a step calls, with the one tensor it takes and the one it gives; None for any other step."""
    if isinstance(step, Block):
        return (step, step.inputs[0], step.outputs[0]) if len(step.inputs) == len(step.outputs) == 1 else None
    if child_of(step) is None or len(step.outs) != 1:
        return None
    layer = next(item for item in step.code.operands() if isinstance(item, Layer))
    taken = next(item for item in step.code.operands() if not isinstance(item, Layer))
    return (layer, taken, step.outs[0]) if isinstance(taken, Var) else None


def _local(item: Leaf, *, inside: set[Var], inputs: dict[Var, None], seen: Iterable[Var]) -> Leaf:
    if isinstance(item, Device):
        if item.var in inside or item.var in inputs:
            return item
        near = next((var for var in seen if var.dtype != "tuple"), None)
        if near is not None:
            return Device(near)
        inputs[item.var] = None
    if isinstance(item, Dim) and item.var not in inside and item.var not in inputs:
        for var in seen:
            if item.symbol is not None and item.symbol in (var.dims or ()):
                return Dim(var, (var.dims or ()).index(item.symbol), item.symbol)
        inputs[item.var] = None
    return item


def _ordered(items: list[tuple[int, Statement | Block]]) -> list[Statement | Block]:
    """Steps in an order in which each one has what it needs, as close to the original as possible."""
    maker = {var: k for k, (_, step) in enumerate(items) for var in made(step)}
    waits: dict[int, set[int]] = {}
    for k, (_, step) in enumerate(items):
        vars_used = (item if isinstance(item, Var) else item.var for item in used(step))
        waits[k] = {maker[var] for var in vars_used if var in maker} - {k}
    ready = [(items[k][0], k) for k, needs in waits.items() if not needs]
    heapq.heapify(ready)
    done: list[Statement | Block] = []
    while ready:
        _, k = heapq.heappop(ready)
        done.append(items[k][1])
        for other, needs in waits.items():
            if k in needs:
                needs.discard(k)
                if not needs:
                    heapq.heappush(ready, (items[other][0], other))
    return done
