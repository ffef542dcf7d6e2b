"""The body of a ``forward``: which expressions stand inside of others, and what everything is called."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from xport.convert.writing.blocks import Block, made, passage
from xport.convert.writing.code import ATOM, Code, Device, Dim, Dims, Hole, Layer, Leaf, Operand, Var, call, plain
from xport.convert.writing.compound import Carried, Compound, Line, Written, tail
from xport.convert.writing.control import Control, Region
from xport.convert.writing.names import identifier
from xport.convert.writing.translator import Statement

_WIDTH, _DEPTH = 84, 3
"""An expression stands inside of another one if that stays within this width and depth."""
_NAMES = ("x", "y", "z", "u", "v", "w")


@dataclass
class Body:
    """A ``forward``.

    Attributes:
        arguments: Names and types of what it takes.
        lines: Its statements, the last one returns.
        comments: By line, the shapes of what it gives.
        result: The type of what it returns.
    """

    arguments: list[tuple[str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    result: str = "Tensor"


def write_body(
    block: Block,
    access: Callable[[Block | Layer | Var], str],
    names: Mapping[Var, str],
    *,
    outputs: Sequence[str] = (),
    without: frozenset[str] = frozenset(),
) -> Body:
    """Write the ``forward`` of a block.

    Args:
        block: The block.
        access: How a child or a weight is reached from it.
        names: Names of inputs that are given.
        outputs: Names of outputs, for the outermost module.
        without: Children that are left out, as if they gave what they take.

    Returns:
        The body.
    """
    return _Writer(block, access, dict(names), outputs, without).write()


class _Writer(Compound):
    def __init__(
        self,
        block: Block,
        access: Callable[[Block | Layer | Var], str],
        names: dict[Var, str],
        outputs: Sequence[str],
        without: frozenset[str],
    ) -> None:
        self._block = block
        self._access = access
        self._names = names
        self._given = set(names.values())
        self._output_names = outputs
        self._sizes: dict[tuple[Var, int], str] = {}
        self._lines = self._calls(without)
        self._hoisted: list[tuple[Var, list[tuple[int, str]]]] = []
        self._carried: dict[Var, Carried] = {}

    def _calls(self, without: frozenset[str]) -> list[Line]:
        """Every step as an assignment."""
        lines, instead = [], dict[Var, Var]()
        for step in self._block.steps:
            code = step.code if isinstance(step, Statement) else call(plain(self._access(step)), *step.inputs)
            code = code.mapped(lambda item: _substituted(item, instead))
            through = passage(step)
            if through is not None and self._access(through[0]) in without:
                instead[through[2]] = instead.get(through[1], through[1])
                continue
            lines.append(Line(list(made(step)), code))
        self._results = [instead.get(var, var) for var in self._block.outputs]
        return lines

    def write(self) -> Body:
        """Write it."""
        self._drop_repeats()
        self._lines.append(Line([], _returned(self._results), "return {}"))
        self._inline()
        self._name_arguments()
        self._hoist()
        body = Body(arguments=[(self._names[v], _type(v)) for v in self._block.inputs])
        body.result = (
            _type(self._results[0])
            if len(self._results) == 1
            else (f"tuple[{', '.join(_type(v) for v in self._results)}]")
        )
        for var, chosen in self._hoisted:
            body.lines.append(self._sizes_line(var, chosen))
            body.comments.append("")
        written = self._statements()
        body.lines += written.lines
        body.comments += written.comments
        return body

    def _inner(self, region: Region, taken: set[str], rows: Sequence[str], carried: Sequence[Carried]) -> Written:
        """What stands inside of a branch or loop: a body that shares names with the one around."""
        inner = copy.copy(self)
        inner._given, inner._output_names = set(taken), ()
        inner._lines = [Line(list(statement.outs), statement.code) for statement in region.statements]
        inner._results = []
        ends = inner._drop_repeats()
        region = Region(region.takes, region.statements, [_mapped(item, ends) for item in region.gives])
        inner._lines += tail(region, rows, carried)
        inner._carried = {}
        for each, item in zip(carried, region.gives, strict=False):
            if isinstance(item, Var) and item in region.bound() and item not in region.takes:
                inner._carried.setdefault(item, each)
        inner._inline()
        return inner._statements()

    def _drop_repeats(self) -> dict[Var, Var]:
        """The same expression of the same things is computed once; gives what stands in the place of what."""
        seen: dict[Code, Var] = {}
        instead: dict[Var, Var] = {}
        kept = []
        for line in self._lines:
            line.code = line.code.mapped(lambda item: _substituted(item, instead))
            layers = any(isinstance(item, Layer) for item in line.code.operands())
            if len(line.outs) == 1 and line.code in seen and not layers:
                instead[line.outs[0]] = seen[line.code]
                continue
            if len(line.outs) == 1:
                seen[line.code] = line.outs[0]
            kept.append(line)
        self._lines = kept
        self._results = [instead.get(var, var) for var in self._results]
        return instead

    def _inline(self) -> None:
        uses: Counter[Var] = Counter()
        for line in self._lines:
            for item in line.code.operands():
                uses.update(
                    {item: 1} if isinstance(item, Var) else {item.var: 2} if isinstance(item, Dim | Device) else {}
                )
        inside: dict[Var, Code] = {}
        depth: dict[Var, int] = {}
        kept = []
        for position, line in enumerate(self._lines):
            taken = [item for item in line.code.operands() if isinstance(item, Var) and item in inside]
            level = 1 + max((depth[var] for var in taken), default=0)
            whole = line.code.mapped(lambda item: inside.get(item, item) if isinstance(item, Var) else item)
            last = not line.outs
            listed = (_calls_listed(line.code) and bool(line.outs)) or isinstance(line.code, Control)
            if taken and (listed or self._length(whole) > _WIDTH or level > (_DEPTH + 1 if last else _DEPTH)):
                # The deepest one first gets a line of its own.
                for var in taken:
                    kept.append(Line([var], inside.pop(var)))
                whole, level = line.code, 1
            for var in taken:
                inside.pop(var, None)
            if (
                len(line.outs) == 1
                and uses[line.outs[0]] == 1
                and not listed
                and self._next_uses(position, line.outs[0])
            ):
                inside[line.outs[0]], depth[line.outs[0]] = whole, level
                continue
            kept.append(Line(line.outs, whole, line.form, line.targets))
        self._lines = kept

    def _next_uses(self, position: int, var: Var) -> bool:
        """Whether what comes soon uses a variable: a reader should not have to look for it."""
        near = self._lines[position + 1 : position + 5]
        return any(item is var for line in near for item in line.code.operands())

    def _length(self, code: Code) -> int:
        return len(code.render(lambda item: self._show(item, "scores")))

    def _name_arguments(self) -> None:
        for var in self._block.inputs:
            if var not in self._names:
                self._names[var] = self._fresh(_argument_hint(var), set(self._names.values()))

    def _hoist(self) -> None:
        """Sizes that are asked for several times get a name."""
        counts: Counter[tuple[Var, int]] = Counter()
        symbols: dict[tuple[Var, int], str | None] = {}
        for line in self._lines:
            for item in line.code.operands():
                if isinstance(item, Dim) and item.var in self._block.inputs:
                    counts[item.var, item.axis] += 1
                    symbols[item.var, item.axis] = item.symbol
        by_var: dict[Var, list[tuple[int, str]]] = {}
        for (var, axis), count in counts.items():
            if count > 1:
                by_var.setdefault(var, []).append((axis, symbols[var, axis] or ""))
        taken = set(self._names.values())
        for var, axes in by_var.items():
            chosen = []
            for axis, symbol in sorted(axes):
                usable = symbol if symbol and re.fullmatch(r"[A-Za-z]\w{2,20}", symbol, re.ASCII) else "size"
                name = self._fresh(identifier(usable), taken)
                taken.add(name)
                self._sizes[var, axis] = name
                chosen.append((axis, name))
            self._hoisted.append((var, chosen))
        self._given |= taken

    def _sizes_line(self, var: Var, chosen: list[tuple[int, str]]) -> str:
        """Names for sizes of an input."""
        source = self._names[var]
        axes = [axis for axis, _ in chosen]
        whole = var.dims is not None and axes == list(range(len(var.dims))) and len(axes) > 1
        values = f"{source}.shape" if whole else ", ".join(f"{source}.shape[{axis}]" for axis in axes)
        return f"{', '.join(name for _, name in chosen)} = {values}"

    def _statements(self) -> Written:
        written = Written()
        last_use = self._last_uses()
        for position, line in enumerate(self._lines):
            if isinstance(line.code, Control):
                inner = self._control(line, line.code, position, last_use)
                written.lines += inner.lines
                written.comments += inner.comments
                continue
            text = line.code.render(self._show)
            if line.targets:
                text = self._rebound(line)
            elif not line.outs:
                text = line.form.replace("{}", text)
            else:
                text = f"{', '.join(self._targets(line, position, last_use))} = {text}"
            if text:
                written.add(text, _shape_comment(line.outs[0].dims) if len(line.outs) == 1 else "")
        return written

    def _control(self, line: Line, control: Control, position: int, last_use: Mapping[Var, int]) -> Written:
        uses = [(self._names[var], at) for var, at in last_use.items() if var in self._names]
        later = {name for name, at in uses if at > position} | self._given
        now = {name for name, at in uses if at == position}
        wishes = [
            self._output_names[self._results.index(out)]
            if out in self._results and len(self._output_names) > 1
            else identifier(out.hint)
            for out in line.outs
        ]
        fixed: dict[Var, Carried] = {}
        for out in line.outs:
            own = self._carry(out, position, last_use)
            if own is not None and own not in fixed.values():
                fixed[out] = own
        return self._write_control(line, control, later | now, now - later, wishes, fixed)

    def _carry(self, out: Var, position: int, last_use: Mapping[Var, int]) -> Carried | None:
        """The name that something is to have in the end, if it may have that at once."""
        own = self._carried.get(out)
        free = own is not None and (own.before is None or last_use.get(own.before, -1) <= position)
        return own if free else None

    def _rebound(self, line: Line) -> str:
        """New values for names that are there; nothing for those that have them already."""
        items = [part for part in line.code.parts if isinstance(part, Hole)]
        pairs = zip(line.targets, [Code((item,)).render(self._show) for item in items], strict=True)
        changed = [(name, text) for name, text in pairs if name != text]
        if not changed:
            return ""
        return f"{', '.join(name for name, _ in changed)} = {', '.join(text for _, text in changed)}"

    def _last_uses(self) -> dict[Var, int]:
        last: dict[Var, int] = {}
        for position, line in enumerate(self._lines):
            for item in line.code.operands():
                var = item.var if isinstance(item, Dim | Device) else item
                if isinstance(var, Var):
                    last[var] = position
        return last

    def _targets(self, line: Line, position: int, last_use: dict[Var, int]) -> list[str]:
        live = {self._names[v] for v, at in last_use.items() if v in self._names and at > position} | self._given
        operands = list(dict.fromkeys(item for item in line.code.operands() if isinstance(item, Var)))
        targets: list[str] = []
        for out in line.outs:
            if out not in last_use:
                targets.append("_")
                continue
            own = self._carry(out, position, last_use)
            if own is not None and own.name not in targets:
                self._names[out] = own.name
                targets.append(own.name)
                continue
            wish = self._wish(line, out, operands, live)
            name = wish if wish not in live and wish not in targets else self._fresh(wish, live | set(targets))
            self._names[out] = name
            targets.append(name)
        return targets

    def _wish(self, line: Line, out: Var, operands: list[Var], live: set[str]) -> str:
        if out in self._results and len(self._output_names) > 1 and not _calls_listed(line.code):
            return self._output_names[self._results.index(out)]
        if line.code.name:
            return identifier(line.code.name)
        operands = [var for var in operands if var.path is None]
        first = operands[0] if operands else None
        own = self._names.get(first) if first is not None and first.dtype != "tuple" else None
        if len(line.outs) == 1 and " @ " in _text(line.code) and len(operands) > 1:
            return "mixed" if own == "scores" else "scores"
        if len(line.outs) > 1:
            module = _module_name(line.code)
            joined = f"{module}_{out.hint}" if module and out.hint in ("output", "state") else ""
            return joined or (out.hint if out.hint != "x" else "part")
        if own is not None and own not in live and (len(operands) == 1 or own in _NAMES):
            return own
        module = _module_name(line.code)
        if module and (own is None or own in live) and len(operands) < 2:
            return module
        if own in self._given and own is not None and "_" in own and len(operands) == 1:
            return identifier(own.rpartition("_")[2])
        return out.hint if out.hint != "x" else "x"

    def _fresh(self, wish: str, taken: set[str]) -> str:
        if wish not in taken:
            return wish
        if wish == "x":
            free = next((name for name in _NAMES if name not in taken), None)
            if free is not None:
                return free
        number = 2
        while f"{wish}{number}" in taken:
            number += 1
        return f"{wish}{number}"

    def _show(self, item: Leaf, unnamed: str = "x") -> Code:
        if isinstance(item, Layer):
            return plain(self._access(item))
        if isinstance(item, Device):
            return Code((Hole(self._show(item.var, unnamed), ATOM), ".device"))
        if isinstance(item, Dim):
            if (item.var, item.axis) in self._sizes:
                return plain(self._sizes[item.var, item.axis])
            return Code((Hole(self._show(item.var, unnamed), ATOM), f".shape[{item.axis}]"))
        if item in self._names:
            return plain(self._names[item])
        if item.path is not None:
            return plain(self._access(item))
        return plain(unnamed)


def _text(code: Code) -> str:
    """The fixed text of an expression and of those inside of it."""
    return "".join(
        part if isinstance(part, str) else _text(part.what) if isinstance(part.what, Code) else ""
        for part in code.parts
    )


def _module_name(code: Code) -> str:
    """What the module is called that an expression calls last, or nothing."""
    layers = [item for item in code.operands() if isinstance(item, Layer)]
    head = code.parts[0]
    text = _text(head.what) if isinstance(head, Hole) and isinstance(head.what, Code) else ""
    name = layers[0].path[-1] if layers else text.rpartition(".")[2] if text.startswith("self.") else ""
    return identifier(name) if re.fullmatch(r"[A-Za-z]\w*[A-Za-z]", name) else ""


def _calls_listed(code: Code) -> bool:
    """Whether an expression calls one of a list of modules: such calls stay one a line, and may become a loop."""
    head = code.parts[0]
    return isinstance(head, Hole) and isinstance(head.what, Code) and _text(head.what).endswith("]")


def _mapped(item: Operand, instead: Mapping[Var, Var]) -> Operand:
    """What a region gives, after `instead`."""
    if isinstance(item, Code):
        return item.mapped(lambda leaf: _substituted(leaf, instead))
    return _substituted(item, instead)


def _substituted(item: Operand, instead: Mapping[Var, Var]) -> Operand:
    if isinstance(item, Var):
        return instead.get(item, item)
    if isinstance(item, Dim) and item.var in instead:
        return Dim(instead[item.var], item.axis, item.symbol)
    if isinstance(item, Device) and item.var in instead:
        return Device(instead[item.var])
    return item


def _returned(results: Sequence[Var]) -> Code:
    parts: list[str | Hole] = []
    for i, var in enumerate(results):
        parts += [", "] if i else []
        parts.append(Hole(var))
    return Code(tuple(parts))


def _type(var: Var) -> str:
    return "tuple[Tensor, Tensor]" if var.dtype == "tuple" else "Tensor"


def _argument_hint(var: Var) -> str:
    if var.hint != "x" and var.path is None:
        return identifier(var.hint)
    if var.dims is not None and len(var.dims) == 4 and var.dims[1] == 1:
        return "mask"
    return "x" if var.path is None else identifier(var.path[-1])


def _shape_comment(dims: Dims | None) -> str:
    if dims is None or any(n is None for n in dims):
        return ""
    shown = [str(n) for n in dims]
    if not all(re.fullmatch(r"[\w +*/()-]{1,24}", text, re.ASCII) for text in shown):
        return ""
    return f"[{', '.join(shown)}]"
