"""Classes for blocks: blocks that differ in numbers only share one, and a child that some lack is optional."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from xport.convert.writing.blocks import Block, passage
from xport.convert.writing.code import Code, Layer, Var, plain
from xport.convert.writing.forward import Body, write_body
from xport.convert.writing.modules import Made, Setting, Tree, made_block
from xport.convert.writing.names import class_name
from xport.convert.writing.translator import Program


@dataclass(eq=False)
class Draft:
    """What is known about one block.

    Attributes:
        block: The block.
        body: Its ``forward``.
        settings: The lines of its ``__init__``.
    """

    block: Block
    body: Body
    settings: list[Setting]


@dataclass(eq=False)
class Class:
    """One class.

    Attributes:
        name: Its name.
        members: The blocks that are its instances.
        parameters: What its constructor takes: name and default (None for none).
        optional: Targets of children that some instances lack.
        values: By block, the value of each parameter.
        settings: The lines of ``__init__``, with parameters in the place of values.
        body: The ``forward``.
    """

    name: str
    members: list[Draft]
    parameters: list[tuple[str, Any]] = field(default_factory=list)
    optional: dict[str, str] = field(default_factory=dict)
    values: dict[Block, dict[str, Any]] = field(default_factory=dict)
    settings: list[Setting] = field(default_factory=list)
    body: Body = field(default_factory=Body)


class Classes:
    """The classes of a program.

    Args:
        root: The outermost block.
        program: The program.
        input_names: Names of the inputs in ``forward``.
        output_names: Names of the outputs.
    """

    def __init__(self, root: Block, program: Program, input_names: Sequence[str], output_names: Sequence[str]) -> None:
        self._root, self._program = root, program
        self._names = (input_names, output_names)
        self._blocks = {block.path: block for block in _inside(root) if block is not root}
        self._class_of: dict[Block, Class] = {}
        self._taken: set[str] = set()
        self.classes: list[Class] = []
        levels: dict[int, list[Block]] = {}
        for block in _inside(root):
            if block is root or made_block(block).kind == "":
                levels.setdefault(self._height(block), []).append(block)
        for _, blocks in sorted(levels.items()):
            self._level(blocks)

    def _height(self, block: Block) -> int:
        inner = [self._height(step) for step in block.steps if isinstance(step, Block)]
        own = 0 if block.chain else 1
        return 10**6 if block is self._root else own + max(inner, default=0)

    def _level(self, blocks: list[Block]) -> None:
        """Make the classes of blocks that do not contain each other."""
        groups: dict[Any, Class] = {}
        for block in blocks:
            draft = self._draft(block)
            key = (block.kind, tuple(draft.body.arguments), tuple(draft.body.lines), self._shape(draft.settings))
            groups.setdefault(key, Class("", [])).members.append(draft)
        made = self._merged(list(groups.values()))
        for each in made:
            self._finish(each)
            self.classes.append(each)

    def _tree(self, block: Block) -> Tree:
        return Tree(block, self._program, self._blocks)

    def _draft(self, block: Block, without: frozenset[str] = frozenset()) -> Draft:
        tree = self._tree(block)

        def access(item: Block | Layer | Var) -> str:
            return tree.access(item.path or ())

        is_root = block is self._root
        inputs, outputs = self._names if is_root else ((), ())
        names = dict(zip(block.inputs, inputs, strict=True)) if is_root else {}
        body = write_body(block, access, names, outputs=outputs, without=without)
        return Draft(block, body, tree.settings())

    def _shape(self, settings: list[Setting]) -> Any:
        return tuple((s.target, self._made_shape(s.made), _weight_shape(s)) for s in settings)

    def _made_shape(self, made: Made | None) -> Any:
        if made is None:
            return None
        own = self._class_of[made.block] if made.block is not None and not made.children else None
        children = tuple((name, self._made_shape(child)) for name, child in made.children)
        return (made.kind, tuple(name for name, _, _ in made.arguments), own and id(own), children)

    # A child that some lack

    def _merged(self, groups: list[Class]) -> list[Class]:
        """Groups that differ by a child that gives what it could leave out become one."""
        result: list[Class] = []
        for group in sorted(groups, key=lambda g: -len(g.members[0].settings)):
            home = next((other for other in result if self._lacks(other, group)), None)
            if home is None:
                result.append(group)
            else:
                home.members += group.members
        return sorted(result, key=lambda g: min(self._order(d.block) for d in g.members))

    def _order(self, block: Block) -> int:
        return list(self._blocks.values()).index(block) if block in self._blocks.values() else 10**6

    def _lacks(self, full: Class, other: Class) -> bool:
        whole, part = full.members[0], other.members[0]
        if whole.block.kind != part.block.kind or full.optional:
            return self._lacks_known(full, part)
        missing = {s.target for s in whole.settings} - {s.target for s in part.settings}
        if len(missing) != 1 or len(part.settings) != len(whole.settings) - 1:
            return False
        return self._fits(full, part, missing.pop())

    def _lacks_known(self, full: Class, part: Draft) -> bool:
        same_kind = full.members[0].block.kind == part.block.kind
        return same_kind and any(self._fits(full, part, target) for target in full.optional)

    def _fits(self, full: Class, part: Draft, target: str) -> bool:
        whole = full.members[0]
        kept = [s for s in whole.settings if s.target != target]
        tree = self._tree(whole.block)
        through = (passage(step) for step in whole.block.steps)
        if target not in (tree.access(found[0].path) for found in through if found is not None):
            return False
        if self._shape(kept) != self._shape(part.settings):
            return False
        body = self._draft(whole.block, frozenset({target})).body
        if (body.arguments, body.lines) != (part.body.arguments, part.body.lines):
            return False
        full.optional[target] = target.rpartition(".")[2]
        return True

    # Numbers that differ

    def _finish(self, group: Class) -> None:
        """Find the parameters of a class, and their values for each instance."""
        wish = class_name(group.members[0].block.kind)
        group.name = next(
            n for n in itertools.chain([wish], (f"{wish}{i}" for i in itertools.count(2))) if n not in self._taken
        )
        self._taken.add(group.name)
        longest = max(group.members, key=lambda d: len(d.settings))
        group.body, group.settings = longest.body, longest.settings
        comments = [d.body.comments for d in group.members if len(d.body.comments) == len(group.body.comments)]
        group.body.comments = [row[0] if len(set(row)) == 1 else "" for row in zip(*comments, strict=True)]
        slots = {draft.block: dict(self._slots(draft.settings)) for draft in group.members}
        keys = list(slots[longest.block])
        vectors = {key: tuple(_hashable(slots[d.block].get(key, _ABSENT)) for d in group.members) for key in keys}
        chosen = _Parameters(group, keys, vectors)
        group.parameters = chosen.parameters
        for draft in group.members:
            self._class_of[draft.block] = group
        group.settings = [
            Setting(
                s.target,
                None if s.made is None else self._filled(s.made, (s.target,), chosen),
                s.var,
                s.weight,
                s.holder,
            )
            for s in group.settings
        ]
        group.values = chosen.values

    def _slots(self, settings: list[Setting]) -> Iterator[tuple[Any, Any]]:
        for setting in settings:
            if setting.made is not None:
                yield from self._made_slots(setting.made, (setting.target,))

    def _arguments(self, made: Made) -> list[tuple[str, Any, Any]]:
        if made.kind or made.block is None:
            return made.arguments
        own = self._class_of[made.block]
        return [(name, own.values[made.block].get(name, default), default) for name, default in own.parameters]

    def _made_slots(self, made: Made, key: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
        for name, value, _ in self._arguments(made):
            yield (*key, name), value
        for name, child in made.children:
            yield from self._made_slots(child, (*key, name))

    def _filled(self, made: Made, key: tuple[str, ...], chosen: _Parameters) -> Made:
        arguments = [
            (name, chosen.shown((*key, name), value), default) for name, value, default in self._arguments(made)
        ]
        children = [(name, self._filled(child, (*key, name), chosen)) for name, child in made.children]
        kind = made.kind or (self._class_of[made.block].name if made.block is not None else "")
        return Made(kind, arguments, made.positional if made.kind else 99, children, None, made.fixed)


_ABSENT = ("absent",)
_ROLES = {
    "in_channels": "in_channels",
    "in_features": "in_features",
    "out_channels": "out_channels",
    "out_features": "out_features",
}


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class _Parameters:
    """Which values of a class's instances differ, and what they are called.

    Args:
        group: The class.
        keys: Where values stand.
        vectors: By place, the value in each instance; `_ABSENT` where an instance lacks the child.
    """

    def __init__(self, group: Class, keys: list[Any], vectors: dict[Any, tuple[Any, ...]]) -> None:
        self.parameters: list[tuple[str, Any]] = []
        self.values: dict[Block, dict[str, Any]] = {d.block: {} for d in group.members}
        self._shown: dict[Any, Code] = {}
        blocks = [d.block for d in group.members]
        known: list[tuple[str, tuple[Any, ...]]] = []
        taken: set[str] = set()
        # Places that every instance has come first: the others mostly repeat them.
        for key in sorted(keys, key=lambda k: _ABSENT in vectors[k]):
            vector = vectors[key]
            if len({v for v in vector if v is not _ABSENT}) == 1 and (len(group.members) == 1 or _same_all(vector)):
                continue
            text = _from_known(vector, known)
            if text is None:
                name = _name(key, keys, vectors, taken)
                taken.add(name)
                filled = tuple(next(v for v in vector if v is not _ABSENT) if v is _ABSENT else v for v in vector)
                known.append((name, filled))
                self.parameters.append((name, None))
                for block, value in zip(blocks, filled, strict=True):
                    self.values[block][name] = value
                text = plain(name)
            self._shown[key] = text
        self._optional(group)

    def _optional(self, group: Class) -> None:
        for target, name in group.optional.items():
            self.parameters.append((name, False))
            for draft in group.members:
                self.values[draft.block][name] = any(s.target == target for s in draft.settings)

    def shown(self, key: Any, value: Any) -> Any:
        """What stands in the class at a place."""
        return self._shown.get(key, value)


def _same_all(vector: tuple[Any, ...]) -> bool:
    return len({v for v in vector if v is not _ABSENT}) <= 1


def _fits(vector: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(a is _ABSENT or (type(a) is type(b) and a == b) for a, b in zip(vector, other, strict=True))


def _from_known(vector: tuple[Any, ...], known: list[tuple[str, tuple[Any, ...]]]) -> Code | None:
    """A value that another parameter has, or a multiple of it."""
    from xport.convert.writing.code import binary

    for name, other in known:
        if _fits(vector, other):
            return plain(name)
    for name, other in known:
        for factor in (2, 3, 4, 6, 8):
            counts = all(_is_count(v) or v is _ABSENT for v in vector) and all(_is_count(v) for v in other)
            if counts and _fits(vector, tuple(factor * v for v in other)):
                return binary("*", factor, plain(name))
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _name(key: Any, keys: list[Any], vectors: dict[Any, tuple[Any, ...]], taken: set[str]) -> str:
    """A parameter's name: by its role where that is clear, else by the child and the argument."""
    argument = key[-1]
    child = key[0].rpartition(".")[2].strip('"]')
    first = next(k for k in keys if k[-1] in ("in_channels", "in_features", "num_features", argument))
    if argument.startswith("in_") and key == first and argument not in taken:
        return str(argument)
    if argument.startswith("out_") and "width" not in taken:
        return "width"
    wishes = [str(argument)] if argument not in ("out_channels", "out_features") else []
    wishes.append(f"{child}_{argument}" if child.isidentifier() else str(argument))
    return next(
        name for name in itertools.chain(wishes, (f"{wishes[-1]}{i}" for i in itertools.count(2))) if name not in taken
    )


def _weight_shape(setting: Setting) -> Any:
    if setting.weight is None:
        return None
    return tuple(setting.weight.array.shape), str(setting.weight.array.dtype), setting.weight.trained


def _inside(block: Block) -> Iterator[Block]:
    yield block
    for step in block.steps:
        if isinstance(step, Block):
            yield from _inside(step)
