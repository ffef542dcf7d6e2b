"""Which routes lead from a format to another, the cheapest first."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from xport.convert.engines import environment
from xport.convert.engines.table import ENGINES
from xport.convert.routes import DISTRIBUTIONS, HUB, RUNTIME_OF, STEPS, Step
from xport.errors import MissingRuntimeError, UsageError
from xport.formats import Format


@dataclass(frozen=True)
class Route:
    """Steps that follow one another.

    Attributes:
        steps: At least one.
    """

    steps: tuple[Step, ...]

    @property
    def formats(self) -> tuple[str, ...]:
        """The names of the formats along the way, source and target included."""
        return (self.steps[0].source.value, *(step.target.value for step in self.steps))

    @property
    def needs(self) -> tuple[str, ...]:
        """Import names of every package that the steps need, and names of engines."""
        return tuple(dict.fromkeys(name for step in self.steps for name in (*step.needs, step.engine) if name))

    @property
    def engines(self) -> int:
        """How many steps optional engines take."""
        return len(self.engine_names)

    @property
    def engine_names(self) -> tuple[str, ...]:
        """The engine of each step that an optional engine takes."""
        return tuple(step.engine for step in self.steps if step.engine)

    @property
    def cost(self) -> int:
        """The sum of the steps' costs."""
        return sum(step.cost for step in self.steps)

    def __str__(self) -> str:
        return " → ".join([self.steps[0].source.value, *(_label(step) for step in self.steps)])


def _label(step: Step) -> str:
    second_choice = step.cost > 1
    return f"{step.target.value} ({step.engine or step.module})" if second_choice else step.target.value


def plan(source: Format, target: Format, *, via: Sequence[str] = (), steps: Iterable[Step] = STEPS) -> list[Route]:
    """List the routes from a format to another.

    A direct step comes before any way through the hub, then the cost decides; what an optional engine does comes last.

    Args:
        source: What is there.
        target: What is wanted.
        via: Formats to go through, or step modules or engines to use, in order; with formats, no other way is taken.
        steps: The table.

    Returns:
        Routes, the first to try first; whatever packages they need.

    Raises:
        UsageError: If no route leads there, or none the way that ``via`` says.
    """
    table = tuple(steps)
    modules = [name for name in via if name in {known for step in table for known in step.names}]
    stops = [Format.parse(name) for name in via if name not in modules]
    chains = [(source, *stops, target)] if stops else [(source, target), (source, HUB, target)]
    routes = [
        Route(combination)
        for chain in chains
        if len(set(chain)) == len(chain) or chain == (source, target) or _around(chain)
        for combination in product(*(_between(table, a, b) for a, b in pairwise(chain)))
        if all(name in {known for step in combination for known in step.names} for name in modules)
    ]
    if not routes:
        raise _no_route(source, target, via, table)
    return sorted(routes, key=lambda route: (route.engines, len(route.steps), route.cost))


def _around(chain: Sequence[Format]) -> bool:
    """Whether a chain leads from a format through the hub back to it: PyTorch's becomes source code that way."""
    return chain[0] is chain[-1] is Format.PYTORCH and chain[1:-1] == (HUB,)


def _between(table: Sequence[Step], source: Format, target: Format) -> list[Step]:
    return [step for step in table if step.source is source and step.target is target]


def _no_route(source: Format, target: Format, via: Sequence[str], table: Sequence[Step]) -> UsageError:
    if via:
        known = sorted({step.module for step in table})
        return UsageError(
            f"No route leads from {source.value} to {target.value} via {', '.join(via)}.",
            f"Leave --via out, or name a format on the way or one of the steps {', '.join(known)}.",
        )
    reachable = [t.value for t in targets(source, table)]
    if not reachable:
        starts = ", ".join(dict.fromkeys(step.source.value for step in table))
        return UsageError(
            f"xport does not convert from {source.value}.", f"Start from the model in one of these: {starts}."
        )
    if source is target:
        return UsageError(
            f"The model is in {source.value} already.",
            f"Copy it, or convert it to one of {', '.join(reachable)}.",
        )
    return UsageError(f"No route leads from {source.value} to {target.value}.", f"Targets are {', '.join(reachable)}.")


def targets(source: Format, steps: Iterable[Step] = STEPS) -> list[Format]:
    """The formats that some route from a format leads to, in the order of `Format`.

    Args:
        source: What is there.
        steps: The table.

    Returns:
        The targets.
    """
    table = tuple(steps)
    direct = {step.target for step in table if step.source is source}
    through = {step.target for step in table if step.source is HUB} if HUB in direct else set()
    return [f for f in Format if f in direct or (f in through and f is not source)]


def is_installed(package: str) -> bool:
    """Whether a package can be imported, or an engine is there; nothing is imported."""
    if package in ENGINES:
        return environment.is_ready(package)
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # a broken parent package
        return False


def missing(packages: Iterable[str], installed: Callable[[str], bool] = is_installed) -> list[str]:
    """The packages of a list that are not installed.

    Args:
        packages: Import names.
        installed: Tells whether one is there.

    Returns:
        Those that are not, without repetition.
    """
    return [name for name in dict.fromkeys(packages) if not installed(name)]


def pip_command(packages: Iterable[str]) -> str:
    """The command that installs packages.

    Args:
        packages: Import names, and names of engines.

    Returns:
        A command to paste; one a line if there are several.
    """
    packages = list(packages)
    engines = [environment.add_command(name) for name in packages if name in ENGINES]
    packages = [name for name in packages if name not in ENGINES]
    if engines:
        return "\n".join([*([pip_command(packages)] if packages else []), *engines])
    extras = dict.fromkeys(DISTRIBUTIONS.get(name, (name, "cpu"))[1] for name in packages)
    return f"pip install 'xport-ml[{','.join(extras)}]'"


def available(
    routes: Sequence[Route],
    *,
    verify: bool = True,
    source: Format | None = None,
    installed: Callable[[str], bool] = is_installed,
) -> list[Route]:
    """The routes whose packages are all here.

    Args:
        routes: What `plan` returned.
        verify: Whether source and result will be run.
        source: What will be run as the source; the first step's source by default.
        installed: Tells whether a package is there.

    Returns:
        Those that can be taken, in the same order.

    Raises:
        MissingRuntimeError: If none can; the fix installs what the first one lacks.
    """
    runs = [RUNTIME_OF[source or routes[0].steps[0].source], RUNTIME_OF[routes[0].steps[-1].target]] if verify else []
    usable = [route for route in routes if not missing([*route.needs, *runs], installed)]
    if usable:
        return usable
    lacking = missing([*routes[0].needs, *runs], installed)
    what = ", ".join(DISTRIBUTIONS.get(name, (name, ""))[0] for name in lacking)
    verb = "is" if len(lacking) == 1 else "are"
    raise MissingRuntimeError(
        f"{routes[0]} needs {what}, which {verb} not installed.",
        f"{pip_command(lacking)}" + ("" if missing(routes[0].needs, installed) else "   (or add --no-verify)"),
    )
