"""Branches and loops as expressions of several results, with statements inside of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xport.convert.writing.code import Code, Device, Dim, Layer, Leaf, Operand, Var

if TYPE_CHECKING:
    from xport.convert.writing.translator import Statement


@dataclass(eq=False)
class Region:
    """Statements that run under a condition or many times; they see what is around them.

    Attributes:
        takes: What is there anew in each run: states, elements, the number of the run.
        statements: In an order in which they can be run.
        gives: What they make, in order.
    """

    takes: list[Var] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    gives: list[Operand] = field(default_factory=list)

    def bound(self) -> set[Var]:
        """What is known inside alone."""
        return {*self.takes, *(var for statement in self.statements for var in statement.outs)}

    def operands(self) -> Iterator[Leaf]:
        """What it uses of what is around it."""
        bound = self.bound()
        for code in (*(statement.code for statement in self.statements), *self.gives):
            for item in leaves(code):
                if not _within(item, bound):
                    yield item

    def mapped(self, change: Callable[[Leaf], Operand]) -> Region:
        """The same with other things around it."""
        bound = self.bound()

        def outer(item: Leaf) -> Operand:
            return item if _within(item, bound) else change(item)

        statements = [replace(s, code=s.code.mapped(outer)) for s in self.statements]
        return Region(self.takes, statements, [_mapped(item, outer) for item in self.gives])


@dataclass(frozen=True, eq=False)
class Control(Code):
    """A branch or a loop; the results of its statement belong to what its regions give, one by one."""

    parts: tuple[str, ...] = ("",)

    @property
    def regions(self) -> tuple[Region, ...]:
        """What is inside."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Branch(Control):
    """One of two regions.

    Attributes:
        condition: Which one.
        then: The one for true.
        otherwise: The other one.
    """

    condition: Operand = field(default_factory=lambda: Code(("",)))
    then: Region = field(default_factory=Region)
    otherwise: Region = field(default_factory=Region)

    @property
    def regions(self) -> tuple[Region, ...]:
        """Both."""
        return self.then, self.otherwise

    def operands(self) -> Iterator[Leaf]:
        """Everything that it uses."""
        yield from leaves(self.condition)
        for region in self.regions:
            yield from region.operands()

    def mapped(self, change: Callable[[Leaf], Operand]) -> Branch:
        """The same with other operands."""
        then, otherwise = (region.mapped(change) for region in self.regions)
        return replace(self, condition=_mapped(self.condition, change), then=then, otherwise=otherwise)


@dataclass(frozen=True, eq=False)
class Loop(Control):
    """A region that runs many times: its first results are the next run's states, of the others each run's are kept.

    Attributes:
        body: The region; it takes the states, then an element of each sequence, then `counter`.
        starts: What the states are at first.
        limit: How many times at most, as an integer; None for no limit, or where sequences tell.
        counter: The number of the run as an integer, if somebody asks.
        conditional: Whether the first state says if the region is to run (again).
        sequences: What is iterated over.
    """

    body: Region = field(default_factory=Region)
    starts: Sequence[Operand] = ()
    limit: Operand | None = None
    counter: Var | None = None
    conditional: bool = False
    sequences: Sequence[Code] = ()

    @property
    def regions(self) -> tuple[Region, ...]:
        """The one."""
        return (self.body,)

    @property
    def states(self) -> list[Var]:
        """What is carried from run to run."""
        return self.body.takes[: len(self.starts)]

    @property
    def elements(self) -> list[Var]:
        """What each run takes of the sequences."""
        return self.body.takes[len(self.starts) :][: len(self.sequences)]

    def operands(self) -> Iterator[Leaf]:
        """Everything that it uses."""
        for item in (*self.starts, *([] if self.limit is None else [self.limit]), *self.sequences):
            yield from leaves(item)
        yield from self.body.operands()

    def mapped(self, change: Callable[[Leaf], Operand]) -> Loop:
        """The same with other operands."""
        return replace(
            self,
            body=self.body.mapped(change),
            starts=[_mapped(item, change) for item in self.starts],
            limit=None if self.limit is None else _mapped(self.limit, change),
            sequences=[item.mapped(change) for item in self.sequences],
        )


def leaves(item: Operand) -> Iterator[Leaf]:
    """What an operand uses."""
    if isinstance(item, Code):
        yield from item.operands()
    else:
        yield item


def variables(item: Operand) -> Iterator[Var]:
    """The tensors that an operand uses, those included of which it asks a size or the device."""
    for leaf in leaves(item):
        if isinstance(leaf, Dim | Device):
            yield leaf.var
        elif isinstance(leaf, Var):
            yield leaf


def drop_unused(statements: list[Statement], needed: set[Var]) -> list[Statement]:
    """The statements that make what is needed.

    Args:
        statements: In an order in which they can be run.
        needed: What is needed; what the statements need themselves is added.

    Returns:
        Those to keep, without what is not needed inside of branches and loops.
    """
    kept = []
    for statement in reversed(statements):
        if not any(var in needed for var in statement.outs):
            continue
        if isinstance(statement.code, Control):
            _prune(statement, statement.code, needed)
        needed.update(variables(statement.code))
        kept.append(statement)
    return kept[::-1]


def _prune(statement: Statement, control: Control, needed: set[Var]) -> None:
    """Take out what a branch or loop makes in vain; states stay, since the next run needs them."""
    states = len(control.starts) if isinstance(control, Loop) else 0
    chosen = [i for i, var in enumerate(statement.outs) if i < states or var in needed]
    statement.outs = [statement.outs[i] for i in chosen]
    for region in control.regions:
        region.gives = [region.gives[i] for i in chosen]
        region.statements = drop_unused(region.statements, {var for item in region.gives for var in variables(item)})


def _within(item: Leaf, bound: set[Var]) -> bool:
    return not isinstance(item, Layer) and (item.var if isinstance(item, Dim | Device) else item) in bound


def _mapped(item: Operand, change: Callable[[Leaf], Operand]) -> Operand:
    return item.mapped(change) if isinstance(item, Code) else change(item)
