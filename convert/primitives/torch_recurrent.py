"""PyTorch's primitives for recurrent networks."""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.primitives.torch_control_flow import is_exporting
from xport.convert.primitives.torch_shapes import TorchShapes

GATES = {"lstm": [0, 2, 3, 1], "gru": [1, 0, 2], "rnn_tanh": [0], "rnn_relu": [0]}
"""For each gate of PyTorch's order, its place in ONNX's: i, o, f, c against i, f, g, o; z, r, h against r, z, n."""


class TorchRecurrent(TorchShapes):
    """Primitives for recurrent networks; sequences are time-major."""

    def flip(self, x: Any, axis: int) -> Any:
        """Reverse along an axis."""
        return torch.flip(x, [axis])

    def reverse_sequence(self, x: Any, lengths: Any) -> Any:
        """Reverse the first ``lengths[b]`` steps of each sequence ``x[:, b]``; later steps stay where they are."""
        steps = torch.arange(x.shape[0], device=x.device)[:, None]
        lengths = lengths.to(torch.int64)[None, :]
        source = torch.where(steps < lengths, lengths - 1 - steps, steps)
        trailing = [1] * (x.dim() - 2)
        return torch.gather(x, 0, source.reshape([*source.shape, *trailing]).expand(x.shape))

    def steps_mask(self, length: Any, lengths: Any) -> Any:
        """Whether step t of sequence b is within its length, as a [T, B] tensor."""
        return torch.arange(length, device=lengths.device)[:, None] < lengths[None, :]

    def fused_recurrent(self, kind: str, x: Any, weights: list[list[Any]], states: list[Any]) -> Any:
        """PyTorch's kernel for a whole network with its own activations and no extras.

        Args:
            kind: ``lstm``, ``gru``, ``rnn_tanh`` or ``rnn_relu``.
            x: The sequence [T, B, I].
            weights: For each direction W, R and the two biases, gates in ONNX's order.
            states: Initial states [directions, B, H].

        Returns:
            Outputs [T, B, directions * H] and final states; None where the kernel would fix the sequence length.
        """
        if (is_exporting() and not isinstance(x.shape[0], int)) or x.shape[0] == 0:
            return None
        order = GATES[kind]
        flat = [_reordered(w, order) for direction in weights for w in direction]
        initial = tuple(states) if kind == "lstm" else states[0]
        function = getattr(torch._VF, kind)
        result = function(x, initial, flat, True, 1, 0.0, False, len(weights) == 2, False)
        return result[0], list(result[1:])


def _reordered(weight: Any, order: list[int]) -> Any:
    if order == sorted(order):
        return weight
    parts = torch.chunk(weight, len(order), 0)
    return torch.cat([parts[i] for i in order], 0)
