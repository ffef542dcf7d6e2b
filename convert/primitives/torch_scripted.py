"""Branches and loops for `torch.jit.trace`: bodies are traced, the control flow around them is scripted."""

# TorchScript knows neither unpacking in lists nor functions in conditional expressions.
# ruff: noqa: RUF005

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, List  # noqa: UP035 - TorchScript reads these annotations

import torch
from torch import Tensor

from xport.convert.primitives.python_loops import LoopBody, ScanBody, Tensors


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    """Leave the recording that is under way; a body is recorded on its own."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


def _traced(function: Callable[..., Tensors], *examples: Sequence[Any]) -> Any:
    """A function of lists of tensors, recorded on examples."""
    with _untraced():
        detached = tuple([t.detach().clone() for t in example] for example in examples)
        used = [i for i, example in enumerate(detached) if example]

        def run(*lists: list[Any]) -> list[Any]:
            given: list[list[Any]] = [[] for _ in examples]
            for i, tensors in zip(used, lists, strict=True):
                given[i] = tensors
            return [t.clone() for t in function(*given)]

        return torch.jit.trace(  # type: ignore[no-untyped-call]
            run, tuple(detached[i] for i in used), check_trace=False, strict=False
        )


def branch(
    condition: Any,
    then: Callable[[Tensors], Tensors],
    otherwise: Callable[[Tensors], Tensors],
    operands: Sequence[Any],
) -> Tensors:
    """A scripted ``if``."""
    given = [*operands] or [condition]
    yes = _traced(lambda xs: then(xs if operands else []), given)
    no = _traced(lambda xs: otherwise(xs if operands else []), given)

    def choose(condition: Tensor, operands: List[Tensor]) -> List[Tensor]:  # noqa: UP006
        if bool(condition):
            result: List[Tensor] = yes(operands)  # noqa: UP006
        else:
            result = no(operands)
        return result

    with _untraced():
        scripted = torch.jit.script(choose)
    return list(scripted(condition, given))


def scan(
    body: ScanBody, states: Sequence[Any], inputs: Sequence[Any], operands: Sequence[Any]
) -> tuple[Tensors, Tensors]:
    """A scripted loop over the first axis of the inputs."""
    n_states = len(states)
    with _untraced():
        slices = [x[0] if x.shape[0] else torch.zeros(x.shape[1:], dtype=x.dtype, device=x.device) for x in inputs]

    def flat(given: Tensors) -> Tensors:
        n, m = n_states, n_states + len(inputs)
        after, made = body(given[:n], given[n:m], given[m:])
        return [*after, *made]

    step = _traced(flat, [*states, *slices, *operands])

    def run(states: List[Tensor], inputs: List[Tensor], operands: List[Tensor], n_states: int) -> List[Tensor]:  # noqa: UP006
        n = inputs[0].size(0)
        collected: List[List[Tensor]] = []  # noqa: UP006
        for t in range(n):
            made = step(states + [x[t] for x in inputs] + operands)
            states = made[:n_states]
            collected.append(made[n_states:])
        result = states
        if n > 0:
            for k in range(len(collected[0])):
                result = result + [torch.stack([row[k] for row in collected])]
        else:
            zeros = [torch.zeros(x.size()[1:], dtype=x.dtype, device=x.device) for x in inputs]
            for y in step(states + zeros + operands)[n_states:]:
                result = result + [torch.zeros([0] + y.size(), dtype=y.dtype, device=y.device)]
        return result

    with _untraced():
        scripted = torch.jit.script(run)
    result = list(scripted(list(states), list(inputs), list(operands), n_states))
    return result[:n_states], result[n_states:]


def loop(
    body: LoopBody, limit: Any, condition: Any, states: Sequence[Any], operands: Sequence[Any], n_outputs: int
) -> tuple[Tensors, Tensors]:
    """A scripted ``while``."""
    n_states = len(states)
    device = condition.device
    counter = torch.zeros((), dtype=torch.int64, device=device)
    bound = torch.scalar_tensor((1 << 63) - 1, dtype=torch.int64) if limit is None else torch.as_tensor(limit)

    def flat(given: Tensors) -> Tensors:
        going, after, made = body(given[0], given[1], given[2 : 2 + n_states], given[2 + n_states :])
        return [going, *after, *made]

    step = _traced(flat, [counter, condition, *states, *operands])

    def run(
        bound: Tensor, going: Tensor, states: list[Tensor], operands: list[Tensor], n_states: int, n: int
    ) -> List[Tensor]:  # noqa: UP006
        limit = int(bound)
        start = going
        first = states
        collected: List[List[Tensor]] = []  # noqa: UP006
        i = 0
        while i < limit and bool(going):
            counter = torch.full([], i, dtype=torch.int64, device=going.device)
            made = step([counter, going] + states + operands)
            going = made[0]
            states = made[1 : 1 + n_states]
            collected.append(made[1 + n_states :])
            i += 1
        result = states
        if i > 0:
            for k in range(n):
                result = result + [torch.stack([row[k] for row in collected])]
        elif n > 0:
            counter = torch.full([], 0, dtype=torch.int64, device=going.device)
            for y in step([counter, start] + first + operands)[1 + n_states :]:
                result = result + [torch.zeros([0] + y.size(), dtype=y.dtype, device=y.device)]
        return result

    with _untraced():
        scripted = torch.jit.script(run)
    result = list(scripted(bound, condition, list(states), list(operands), n_states, n_outputs))
    return result[:n_states], result[n_states:]
