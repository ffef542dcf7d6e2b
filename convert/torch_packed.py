"""Packed sequences on their way to ONNX.

``torch.export`` cannot follow ``nn.utils.rnn.pack_padded_sequence``: how many rows a packed sequence has depends on the
lengths' values. ONNX knows no packed sequences either, but its recurrent operators take lengths. So, while a module is
exported, a packed sequence stays what it was made of, a padded one and its lengths, and the recurrent layers become
`recurrent`, an operator of our own that skips the padding and becomes LSTM, GRU or RNN with ``sequence_lens``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import nn

from xport.errors import ConversionError

_CELLS: dict[str, Callable[..., Any]] = {
    "LSTM": torch.lstm_cell,
    "GRU": torch.gru_cell,
    "RNN_TANH": torch.rnn_tanh_cell,
    "RNN_RELU": torch.rnn_relu_cell,
}
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN_TANH": (0,), "RNN_RELU": (0,)}
"""Where ONNX's gates are among PyTorch's: iofc of ifgo, zrh of rzn."""


@torch.library.custom_op("xport::recurrent", mutates_args=())
def recurrent(
    x: torch.Tensor,
    lengths: torch.Tensor,
    state: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    mode: str,
    reverse: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One layer of a recurrent net in one direction, over padded sequences of known lengths.

    Args:
        x: Inputs, [time, batch, features].
        lengths: How many steps of each sequence count, int64 [batch].
        state: The first hidden state, [batch, hidden], and for an LSTM the first cell state.
        weights: Of input and hidden state, and the two biases if there are any, as PyTorch keeps them.
        mode: ``LSTM``, ``GRU``, ``RNN_TANH`` or ``RNN_RELU``.
        reverse: From each sequence's own end to its beginning.

    Returns:
        Outputs [time, batch, hidden], zero where padded; the last hidden state; the last cell state, empty if none.
    """
    now, outputs = list(state), []
    steps = range(x.shape[0])
    for t in reversed(steps) if reverse else steps:
        found = _CELLS[mode](x[t], tuple(now) if mode == "LSTM" else now[0], *weights)
        alive = (t < lengths).unsqueeze(1)
        new = found if mode == "LSTM" else (found,)
        now = [torch.where(alive, a, b) for a, b in zip(new, now, strict=True)]
        outputs.append(torch.where(alive, new[0], torch.zeros_like(new[0])))
    y = torch.stack(outputs[::-1] if reverse else outputs)
    return y, now[0].clone(), now[1].clone() if mode == "LSTM" else x.new_empty(0)


@recurrent.register_fake
def _shapes(x: Any, lengths: Any, state: Any, weights: Any, mode: str, reverse: bool) -> Any:
    hidden = state[0].shape[1]
    last = x.new_empty((x.shape[1], hidden))
    return (
        x.new_empty((x.shape[0], x.shape[1], hidden)),
        last,
        torch.empty_like(last) if mode == "LSTM" else x.new_empty(0),
    )


class _Longest:
    """The longest of the lengths, a number that only a run knows: what ``total_length`` is compared with."""

    def __gt__(self, other: object) -> bool:
        return False


@dataclass(frozen=True)
class _Sizes:
    """What stands for a packed sequence's ``batch_sizes``: the lengths, in the order of the packed batch."""

    lengths: torch.Tensor
    time: Any
    batch: Any
    clean: list[torch.Tensor]
    """Data of which the padding is known to be zero."""

    @property
    def device(self) -> torch.device:
        """Where PyTorch wants ``batch_sizes`` to be."""
        return torch.device("cpu")

    def __getitem__(self, step: int) -> Any:
        """How many sequences have a step: of the first, all."""
        if step:
            raise ConversionError("Only the first of a packed sequence's batch_sizes is known while converting.")
        return self.batch

    def size(self, axis: int = 0) -> _Longest:
        """How many steps the longest has."""
        return _Longest()


@contextlib.contextmanager
def packed_sequences() -> Iterator[None]:
    """While a module is exported, keep packed sequences padded and recurrent layers over them whole.

    Yields:
        Nothing.
    """
    layers: dict[str, Any] = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN_TANH", "rnn_relu": "RNN_RELU"}
    with contextlib.ExitStack() as stack:
        for name, mode in layers.items():
            original = getattr(torch._VF, name)
            stack.enter_context(mock.patch.object(torch._VF, name, _layers(original, mode)))
        stack.enter_context(mock.patch.object(torch._VF, "_pack_padded_sequence", _pack))
        stack.enter_context(mock.patch.object(torch._VF, "_pad_packed_sequence", _unpack))
        for owner, name in ((nn.RNNBase, "get_expected_hidden_size"), (nn.LSTM, "get_expected_cell_size")):
            stack.enter_context(mock.patch.object(owner, name, _expected(getattr(owner, name))))
        yield


def _expected(original: Callable[..., Any]) -> Callable[..., Any]:
    """Expected sizes of states without making a number of a batch that varies."""

    def expected(self: nn.RNNBase, x: torch.Tensor, sizes: Any) -> Any:
        if not isinstance(sizes, _Sizes):
            return original(self, x, sizes)
        return self.num_layers * (2 if self.bidirectional else 1), sizes.batch, self.hidden_size

    return expected


def _pack(x: torch.Tensor, lengths: torch.Tensor, batch_first: bool) -> tuple[torch.Tensor, _Sizes]:
    if batch_first:
        x = x.transpose(0, 1)
    return x.flatten(0, 1), _Sizes(lengths, x.shape[0], x.shape[1], [])


def _padded(data: torch.Tensor, sizes: _Sizes) -> torch.Tensor:
    return data.reshape(sizes.time, sizes.batch, *data.shape[1:])


def _unpack(
    data: torch.Tensor, sizes: _Sizes, batch_first: bool, padding_value: float, total: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    x = _padded(data, sizes)
    if padding_value or not any(data is known for known in sizes.clean):
        there = torch.arange(sizes.time).unsqueeze(1) < sizes.lengths
        x = torch.where(there.reshape(*there.shape, *[1] * (x.dim() - 2)), x, padding_value)
    if isinstance(total, _Longest):
        longest: Any = sizes.lengths.max().item()
        check: Any = torch._check
        check(longest >= 0)
        check(longest <= x.shape[0])
        x = x.narrow(0, 0, longest)
    return x.transpose(0, 1) if batch_first else x, sizes.lengths


def _layers(original: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """``torch._VF.lstm`` and its like; those calls that are not about packed sequences go on as they are."""

    def run(x: torch.Tensor, sizes: Any, *arguments: Any) -> Any:
        if not isinstance(sizes, _Sizes):
            projected = mode == "LSTM" and len(arguments) == 7 and _projected(*arguments[:3], arguments[5])
            return _plain(x, sizes, *arguments) if projected else original(x, sizes, *arguments)
        hx, weights, bias, count, dropout, training, both = arguments
        if training and dropout:
            raise ConversionError("A recurrent layer that drops values is random; call .eval() first.")
        states = list(hx) if mode == "LSTM" else [hx]
        x, last = _stacked(_padded(x, sizes), sizes.lengths, states, weights, mode, bias, count, both)
        data = x.flatten(0, 1)
        sizes.clean.append(data)
        return (data, *last)

    return run


def _projected(weights: Sequence[torch.Tensor], bias: bool, count: int, both: bool) -> bool:
    """Whether an LSTM's layers have a fifth weight, which makes the hidden state smaller."""
    return len(weights) != (4 if bias else 2) * count * (2 if both else 1)


def _plain(
    x: torch.Tensor,
    hx: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    bias: bool,
    count: int,
    dropout: float,
    training: bool,
    both: bool,
    batch_first: bool,
) -> Any:
    """An LSTM with projections over whole sequences."""
    if training and dropout:
        raise ConversionError("A recurrent layer that drops values is random; call .eval() first.")
    x = x.transpose(0, 1) if batch_first else x
    lengths = torch.full((x.shape[1],), x.shape[0], dtype=torch.int64)
    y, last = _stacked(x, lengths, hx, weights, "LSTM", bias, count, both)
    return (y.transpose(0, 1) if batch_first else y, *last)


def _stacked(
    x: torch.Tensor,
    lengths: torch.Tensor,
    states: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    mode: str,
    bias: bool,
    count: int,
    both: bool,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """All layers: the last one's outputs, [time, batch, features], and the last states of each."""
    directions = 2 if both else 1
    each = len(weights) // (count * directions)
    one_direction = _with_projection if _projected(weights, bias, count, both) else recurrent
    last: list[tuple[torch.Tensor, ...]] = []
    for layer in range(count):
        found = []
        for index in range(layer * directions, (layer + 1) * directions):
            own = list(weights[index * each : (index + 1) * each])
            found.append(one_direction(x, lengths, [s[index] for s in states], own, mode, index % directions == 1))
        last += [one[1:] for one in found]
        x = torch.cat([y for y, *_ in found], -1) if both else found[0][0]
    return x, [torch.stack([one[i] for one in last]) for i in range(len(states))]


def _with_projection(
    x: torch.Tensor,
    lengths: torch.Tensor,
    state: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    mode: str,
    reverse: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`recurrent` for an LSTM whose hidden state is projected, which ONNX does not know.

    With the hidden state before its projection as the state, both matrices are one, ``w_hh @ w_hr``. The given first
    state is a projected one: it enters with the first step's input, through the same weights.
    """
    w_ih, w_hh, *biases, w_hr = weights
    begin = lengths - 1 if reverse else torch.zeros_like(lengths)
    first = (torch.arange(x.shape[0]).unsqueeze(1) == begin).unsqueeze(-1)
    x = torch.cat([x, torch.where(first, state[0], torch.zeros_like(state[0]))], -1)
    zeros = x.new_zeros((x.shape[1], w_hr.shape[1]))
    joined = [torch.cat([w_ih, w_hh], 1), w_hh @ w_hr, *biases]
    y, hidden, cell = recurrent(x, lengths, [zeros, state[1]], joined, mode, reverse)
    return y @ w_hr.T, hidden @ w_hr.T, cell


def translations() -> dict[Any, Any]:
    """Give ``custom_translation_table`` of ``torch.onnx.export`` for `recurrent`; imports onnxscript."""
    from onnxscript import opset18

    op: Any = opset18

    def first(value: Any) -> Any:
        return op.Unsqueeze(value, op.Constant(value_ints=[0]))

    def reordered(value: Any, mode: str) -> Any:
        order = _GATES[mode]
        if len(order) == 1:
            return value
        parts = op.Split(value, axis=0, num_outputs=len(order))
        return op.Concat(*[parts[i] for i in order], axis=0)

    def to_onnx(x: Any, lengths: Any, state: Sequence[Any], weights: Sequence[Any], mode: str, reverse: bool) -> Any:
        w, r, *biases = [reordered(weight, mode) for weight in weights]
        bias = first(op.Concat(*biases, axis=0)) if biases else None
        hidden = int(state[0].shape[1])
        inputs = (x, first(w), first(r), bias, op.Cast(lengths, to=6), *[first(one) for one in state])
        common = {"hidden_size": hidden, "direction": "reverse" if reverse else "forward"}
        if mode == "LSTM":
            y, h, c = op.LSTM(*inputs, **common)
        elif mode == "GRU":
            (y, h), c = op.GRU(*inputs, **common, linear_before_reset=1), None
        else:
            (y, h), c = op.RNN(*inputs, **common, activations=["Tanh" if mode == "RNN_TANH" else "Relu"]), None
        zero, one = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
        h = op.Squeeze(h, zero)
        return op.Squeeze(y, one), h, h if c is None else op.Squeeze(c, zero)

    return {torch.ops.xport.recurrent.default: to_onnx}
