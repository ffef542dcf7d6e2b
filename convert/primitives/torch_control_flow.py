"""PyTorch's primitives for branches and loops.

Eagerly they are Python's own. `torch.export` gets the higher-order operators cond, scan and while_loop, and
`torch.jit.trace` a scripted loop around a traced body, so that neither freezes the branch or the number of steps that
the example inputs happened to take.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch._higher_order_ops.cond import cond_op
from torch._higher_order_ops.scan import scan_op
from torch._higher_order_ops.while_loop import while_loop_op
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _get_current_dispatch_mode

from xport.convert.lowering.registry import refuse
from xport.convert.primitives import python_loops, torch_scripted
from xport.convert.primitives.python_loops import LoopBody, ScanBody, Tensors
from xport.convert.primitives.torch_shapes import TorchShapes


class TorchControlFlow(TorchShapes):
    """Branches and loops."""

    explicit_captures = True
    """Whether a body must be handed the outer tensors it uses."""

    def branch(
        self,
        condition: Any,
        then: Callable[[Tensors], Tensors],
        otherwise: Callable[[Tensors], Tensors],
        operands: Sequence[Any],
    ) -> Tensors:
        """One of two functions of the operands, chosen at run time."""
        if is_exporting():
            return _exported_branch(condition.reshape(()), then, otherwise, operands)
        if is_tracing():
            return torch_scripted.branch(condition, then, otherwise, operands)
        return then(list(operands)) if bool(condition) else otherwise(list(operands))

    def scan(
        self,
        body: ScanBody,
        states: Sequence[Any],
        inputs: Sequence[Any],
        operands: Sequence[Any],
        elements: Sequence[Sequence[Any]] | None = None,
    ) -> tuple[Tensors, Tensors]:
        """Step over the first axis of the inputs; see `python_loops.scan`."""
        if is_exporting():
            return _exported_scan(body, states, inputs, operands)
        if is_tracing():
            return torch_scripted.scan(body, states, inputs, operands)
        return python_loops.scan(body, states, inputs, operands, torch.stack, _zeros_like)

    def loop(
        self,
        body: LoopBody,
        limit: Any,
        condition: Any,
        states: Sequence[Any],
        operands: Sequence[Any],
        n_outputs: int,
    ) -> tuple[Tensors, Tensors]:
        """Repeat while a condition holds, at most ``limit`` times; see `python_loops.loop`."""
        if is_exporting():
            return _exported_loop(self, body, limit, condition, states, operands)
        if is_tracing():
            return torch_scripted.loop(body, limit, condition, states, operands, n_outputs)
        bound = None if limit is None else int(limit)
        final, collected = python_loops.loop(body, bound, condition, states, operands, self._counter)
        if collected:
            return final, [torch.stack(list(column)) for column in zip(*collected, strict=True)]
        if not n_outputs:
            return final, []
        _, _, made = body(self._counter(0), condition, list(states), list(operands))
        return final, [_zeros_like([0, *y.shape], y) for y in made]

    def as_operand(self, size: Any) -> Any:
        """A run-time size as something a body can be handed."""
        if is_exporting() or isinstance(size, torch.Tensor):
            return size
        return torch.scalar_tensor(size, dtype=torch.int64, device=self.device)

    def value_now(self, tensor: Any) -> np.ndarray | None:
        """A tensor's content where this very run may depend on it: not while a graph is recorded for others."""
        recorded = is_tracing() or torch.compiler.is_compiling() or torch.compiler.is_exporting()
        return None if recorded else self.numpy(tensor)

    def _counter(self, i: int) -> Any:
        return torch.scalar_tensor(i, dtype=torch.int64, device=self.device)


def is_exporting() -> bool:
    """Whether `torch.export` is tracing and not merely computing something known."""
    return torch.compiler.is_exporting() and _get_current_dispatch_mode() is not None


def is_tracing() -> bool:
    """Whether `torch.jit.trace` is recording."""
    return torch._C._get_tracing_state() is not None


def _zeros_like(sizes: Sequence[int], like: Any) -> Any:
    return torch.zeros(list(sizes), dtype=like.dtype, device=like.device)


class _ConstantsFromOperators(TorchFunctionMode):
    """Builds tensors from scalars: a body's graph cannot hold tensors of its own when it is saved."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.tensor or isinstance(args[0], torch.Tensor):
            return func(*args, **kwargs)
        array = np.asarray(args[0])
        if array.dtype == object:
            return func(*args, **kwargs)
        dtype = kwargs.get("dtype") or (torch.from_numpy(array[..., None]).dtype if array.size else None)
        dtype = torch.float32 if isinstance(args[0], float) and "dtype" not in kwargs else dtype
        items = np.unique(array) if array.size else array.reshape(-1)
        options = {"dtype": dtype, "device": kwargs.get("device")}
        if items.size <= 1:
            return torch.full(array.shape, items[0].item() if items.size else 0, **options)
        if array.size > 4096:
            raise refuse("a constant inside a branch or loop", "it is too large for an exported program")
        rows = [torch.scalar_tensor(item.item(), **options) for item in array.reshape(-1)]
        return torch.stack(rows).reshape(array.shape)


@contextlib.contextmanager
def _inside() -> Iterator[None]:
    with _ConstantsFromOperators():
        yield


def _distinct(operands: Sequence[Any], others: Sequence[Any] = ()) -> tuple[Tensors, list[int]]:
    """Each operand once, since a body's graph has one argument a tensor; and where each of them went."""
    unique: Tensors = []
    places = []
    for operand in operands:
        place = next((i for i, known in enumerate(unique) if known is operand), len(unique))
        if place == len(unique):
            unique.append(operand)
        places.append(place)
    taken = {id(t) for t in others}
    return [t.clone() if id(t) in taken else t for t in unique], places


def _fresh(tensors: Sequence[Any]) -> Tensors:
    """Copies: higher-order operators let no output be an input, a view of one, another output, or of other strides."""
    return [t.clone(memory_format=torch.contiguous_format) for t in tensors]


def _exported_branch(
    condition: Any, then: Callable[[Tensors], Tensors], otherwise: Callable[[Tensors], Tensors], operands: Sequence[Any]
) -> Tensors:
    unique, places = _distinct(operands)

    def wrap(function: Callable[[Tensors], Tensors]) -> Callable[..., Any]:
        def run(*inner: Any) -> tuple[Any, ...]:
            with _inside():
                return tuple(_fresh(function([inner[i] for i in places])))

        return run

    try:
        return list(cond_op(condition, wrap(then), wrap(otherwise), tuple(unique)))
    except RuntimeError as error:
        if "When merging two branches" not in str(error):
            raise
        why = "an exported program wants the same rank and type of both; the condition must be known while converting"
        raise refuse("branches whose results differ", why) from error


def _exported_scan(
    body: ScanBody, states: Sequence[Any], inputs: Sequence[Any], operands: Sequence[Any]
) -> tuple[Tensors, Tensors]:
    n, m = len(states), len(inputs)
    unique, places = _distinct(operands, inputs)

    def step(*flat: Any) -> tuple[Any, ...]:
        outer = flat[n + m :]
        with _inside():
            after, made = body(list(flat[:n]), list(flat[n : n + m]), [outer[i] for i in places])
            return tuple(_fresh([*after, *made]))

    start = _fresh(states)
    result = list(scan_op(step, start, list(inputs), tuple(unique)))
    return result[:n], result[n:]


def _exported_loop(
    xp: Any, body: LoopBody, limit: Any, condition: Any, states: Sequence[Any], operands: Sequence[Any]
) -> tuple[Tensors, Tensors]:
    """A while_loop; each output goes into a buffer of ``limit`` rows, of which those used are kept."""
    n = len(states)
    unique, places = _distinct(operands)
    start = torch.scalar_tensor(0, dtype=torch.int64, device=xp.device)
    with _inside():
        _, after, made = body(start, condition, list(states), list(operands))
    for a, b in zip(states, after, strict=True):
        if a.dim() != b.dim() or any(not _same(x, y) for x, y in zip(a.shape, b.shape, strict=True)):
            raise refuse(
                f"a loop state of shape {list(a.shape)} that becomes {list(b.shape)}",
                "an exported program keeps the shapes of a loop's states",
            )
    buffers = [_zeros_like([rows, *y.shape], y) for rows in [_rows(limit)] for y in made] if made else []

    def going(*flat: Any) -> Any:
        i, more = flat[0], flat[1]
        # A condition must not be one of the inputs itself.
        return torch.logical_and(more, more) if limit is None else torch.logical_and(more, i < flat[-1])

    def step(*flat: Any) -> tuple[Any, ...]:
        i, more, rest = flat[0], flat[1], flat[2:]
        current, filled = list(rest[:n]), list(rest[n : n + len(buffers)])
        given = rest[n + len(buffers) : None if limit is None else -1]
        outer = [given[i] for i in places]
        with _inside():
            more, after, made = body(i, more, current, outer)
            filled = [f.index_copy(0, i.reshape(1), y.unsqueeze(0)) for f, y in zip(filled, made, strict=True)]
            return tuple(_fresh([i + 1, more.reshape(()), *after, *filled]))

    carried = (start, condition.reshape(()).clone(), *_fresh(states), *buffers)
    additional = (*unique, *([] if limit is None else [_tensor(xp, limit)]))
    result = list(while_loop_op(going, step, carried, additional))
    outputs = result[2 + n :]
    if outputs:
        count = result[0].item()
        torch._check(count >= 0)  # type: ignore[no-untyped-call]
        torch._check(count <= outputs[0].shape[0])  # type: ignore[no-untyped-call]
        outputs = [y.narrow(0, 0, count) for y in outputs]
    return result[2 : 2 + n], outputs


def _same(a: Any, b: Any) -> bool:
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return bool(statically_known_true(a == b))


def _rows(limit: Any) -> Any:
    if limit is None:
        raise refuse("a loop that collects outputs without a trip count", "an exported program must allocate them")
    if not isinstance(limit, torch.Tensor):
        return limit
    rows = limit.item()
    torch._check(rows >= 0)  # type: ignore[no-untyped-call]
    return rows


def _tensor(xp: Any, limit: Any) -> Any:
    return (
        limit.reshape(())
        if isinstance(limit, torch.Tensor)
        else torch.scalar_tensor(limit, dtype=torch.int64, device=xp.device)
    )
