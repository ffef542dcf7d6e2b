"""PyTorch's whole set of primitives."""

from __future__ import annotations

from xport.convert.primitives.torch_attention import TorchAttention
from xport.convert.primitives.torch_control_flow import TorchControlFlow
from xport.convert.primitives.torch_quantization import TorchQuantization
from xport.convert.primitives.torch_recurrent import TorchRecurrent
from xport.convert.primitives.torch_selection import TorchSelection
from xport.convert.primitives.torch_signal import TorchSignal


class TorchTarget(
    TorchQuantization,
    TorchSelection,
    TorchRecurrent,
    TorchControlFlow,
    TorchAttention,
    TorchSignal,
):
    """Every primitive; each family has its own mixin."""
