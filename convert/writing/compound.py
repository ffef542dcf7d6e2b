"""Branches and loops in the body of a ``forward``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from xport.convert.writing.code import Code, Hole, Leaf, Operand, Var
from xport.convert.writing.control import Branch, Control, Loop, Region, leaves, variables
from xport.convert.writing.names import identifier


@dataclass
class Line:
    """One assignment, one branch or loop, or a statement that assigns nothing new.

    Attributes:
        outs: What is assigned.
        code: The expression.
        form: How a statement without `outs` is written, with ``{}`` for the expression.
        targets: Names that get the parts of the expression, for the last statement of a region.
    """

    outs: list[Var]
    code: Code
    form: str = ""
    targets: list[str] = field(default_factory=list)


@dataclass
class Written:
    """Statements as text, with a comment each.

    Attributes:
        lines: The statements, indented.
        comments: As many comments.
    """

    lines: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def add(self, text: str, comment: str = "") -> None:
        """Add a statement."""
        self.lines.append(text)
        self.comments.append(comment)

    def add_inner(self, inner: Written) -> None:
        """Add what stands inside of the statement before."""
        for text, comment in zip(inner.lines or ["pass"], inner.comments or [""], strict=True):
            self.add(f"    {text}", comment)


@dataclass(frozen=True)
class Carried:
    """What a region gives under a name that is there before.

    Attributes:
        name: The name.
        before: What has the name until then.
    """

    name: str
    before: Var | None = None


class Compound:
    """How a body writes its branches and loops; `xport.convert.writing.forward` has the rest of it."""

    _names: dict[Var, str]

    def _show(self, item: Leaf, unnamed: str = "x") -> Code:
        raise NotImplementedError

    def _inner(self, region: Region, taken: set[str], rows: Sequence[str], carried: Sequence[Carried]) -> Written:
        raise NotImplementedError

    def _fresh(self, wish: str, taken: set[str]) -> str:
        raise NotImplementedError

    def _text_of(self, item: Operand) -> str:
        return (item if isinstance(item, Code) else self._show(item)).render(self._show)

    def _write_control(
        self,
        line: Line,
        control: Control,
        taken: set[str],
        dead: set[str],
        wishes: Sequence[str],
        fixed: Mapping[Var, Carried],
    ) -> Written:
        """A branch or a loop.

        Args:
            line: The statement.
            control: Its expression.
            taken: Names in use here or later.
            dead: Those among them that nothing uses after this statement.
            wishes: What the results would be called.
            fixed: Results of a branch that get a name which is there before.

        Returns:
            The text.
        """
        if isinstance(control, Loop):
            return self._write_loop(line, control, taken, dead, wishes)
        if not isinstance(control, Branch):
            raise TypeError(f"{type(control).__name__} is no branch or loop.")
        free = [out for out in line.outs if out not in fixed]
        self._name_all(free, [w for out, w in zip(line.outs, wishes, strict=True) if out not in fixed], taken)
        self._names.update({out: each.name for out, each in fixed.items()})
        names = [self._names[out] for out in line.outs]
        carried = [fixed.get(out) or Carried(name) for out, name in zip(line.outs, names, strict=True)]
        written = Written()
        written.add(f"if {self._text_of(control.condition)}:")
        written.add_inner(self._inner(control.then, taken | set(names), [], carried))
        written.add("else:")
        written.add_inner(self._inner(control.otherwise, taken | set(names), [], carried))
        return written

    def _name_all(self, variables: Iterable[Var], wishes: Iterable[str], taken: set[str]) -> list[str]:
        names: list[str] = []
        for var, wish in zip(variables, wishes, strict=True):
            names.append(self._fresh(wish, taken | set(names)))
            self._names[var] = names[-1]
        return names

    def _write_loop(self, line: Line, loop: Loop, taken: set[str], dead: set[str], wishes: Sequence[str]) -> Written:
        count = len(loop.starts)
        states = self._name_states(line.outs[:count], loop, wishes[:count], taken, dead)
        taken = taken | set(states)
        rows = self._name_all(line.outs[count:], wishes[count:], taken)
        taken |= set(rows)
        self._names.update(zip(loop.states, states, strict=True))
        written = Written()
        for name, start in zip(states, loop.starts, strict=True):
            text = self._text_of(start)
            if text != name:
                written.add(f"{name} = {text}")
        for name in rows:
            written.add(f"{name} = []")
        written.add(self._head(loop, taken))
        if loop.conditional and loop.limit is not None:
            written.add(f"    if not {states[0]}:")
            written.add("        break")
        taken |= {self._names[var] for var in loop.body.takes if var in self._names}
        carried = [Carried(name, before) for name, before in zip(states, loop.states, strict=True)]
        written.add_inner(self._inner(loop.body, taken, rows, carried))
        return written

    def _head(self, loop: Loop, taken: set[str]) -> str:
        """The ``for`` or ``while``."""
        if loop.sequences:
            wishes = [f"{_source(sequence, self._names)}_t" for sequence in loop.sequences]
            names = self._name_all(loop.elements, wishes, taken)
            shown = ", ".join(self._text_of(sequence) for sequence in loop.sequences)
            return f"for {', '.join(names)} in {shown if len(names) == 1 else f'zip({shown})'}:"
        if loop.limit is None:
            return f"while {self._names[loop.states[0]]}:"
        counters = [] if loop.counter is None else [loop.counter]
        names = self._name_all(counters, ["i"] * len(counters), taken)
        return f"for {names[0] if names else '_'} in range({self._text_of(loop.limit)}):"

    def _name_states(
        self, outs: Sequence[Var], loop: Loop, wishes: Sequence[str], taken: set[str], dead: set[str]
    ) -> list[str]:
        """Names of what is carried: that of what it starts as, if nothing else uses that."""
        used = [var for leaf in loop.operands() for var in variables(leaf)]
        names: list[str] = []
        for out, start, wish in zip(outs, loop.starts, wishes, strict=True):
            own = self._names.get(start) if isinstance(start, Var) and used.count(start) == 1 else None
            name = own if own in dead and own not in names else self._fresh(wish, taken | set(names))
            names.append(name)
            self._names[out] = name
        return names


def _source(sequence: Code, names: Mapping[Var, str]) -> str:
    """What a sequence is called that is iterated over."""
    found = next((item for item in leaves(sequence) if isinstance(item, Var)), None)
    return identifier(names.get(found, "x")) if found is not None else "x"


def tail(region: Region, rows: Sequence[str], carried: Sequence[Carried]) -> list[Line]:
    """What a region ends with: appending to lists, and new values for what is carried."""
    gives = region.gives
    lines = [
        Line([], Code((Hole(item),)), f"{name}.append({{}})")
        for name, item in zip(rows, gives[len(carried) :], strict=True)
    ]
    if carried:
        parts: list[str | Hole] = []
        for i, item in enumerate(gives[: len(carried)]):
            parts += [", "] if i else []
            parts.append(Hole(item))
        lines.append(Line([], Code(tuple(parts)), "{}", [each.name for each in carried]))
    return lines
