"""TensorFlow's whole set of primitives."""

from __future__ import annotations

from xport.convert.primitives.tf_attention import TfAttention
from xport.convert.primitives.tf_control_flow import TfControlFlow
from xport.convert.primitives.tf_quantization import TfQuantization
from xport.convert.primitives.tf_recurrent import TfRecurrent
from xport.convert.primitives.tf_selection import TfSelection
from xport.convert.primitives.tf_signal import TfSignal
from xport.convert.primitives.tf_strings import TfStrings


class TensorflowTarget(
    TfQuantization,
    TfSelection,
    TfRecurrent,
    TfControlFlow,
    TfAttention,
    TfSignal,
    TfStrings,
):
    """Every primitive; each family has its own mixin."""
