"""PyTorch's elementwise primitives."""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.primitives.torch_core import TORCH_DTYPES, TorchCore


class TorchArithmetic(TorchCore):
    """Elementwise work, casts and comparisons; operands broadcast and have one dtype."""

    add = staticmethod(torch.add)
    sub = staticmethod(torch.sub)
    mul = staticmethod(torch.mul)
    neg = staticmethod(torch.neg)
    abs = staticmethod(torch.abs)
    exp = staticmethod(torch.exp)
    log = staticmethod(torch.log)
    sqrt = staticmethod(torch.sqrt)
    floor = staticmethod(torch.floor)
    ceil = staticmethod(torch.ceil)
    sign = staticmethod(torch.sign)
    sin = staticmethod(torch.sin)
    cos = staticmethod(torch.cos)
    tanh = staticmethod(torch.tanh)
    sigmoid = staticmethod(torch.sigmoid)
    erf = staticmethod(torch.erf)
    relu = staticmethod(torch.relu)
    maximum = staticmethod(torch.maximum)
    minimum = staticmethod(torch.minimum)
    equal = staticmethod(torch.eq)
    greater = staticmethod(torch.gt)
    greater_equal = staticmethod(torch.ge)
    less = staticmethod(torch.lt)
    less_equal = staticmethod(torch.le)
    logical_and = staticmethod(torch.logical_and)
    logical_or = staticmethod(torch.logical_or)
    logical_not = staticmethod(torch.logical_not)
    where = staticmethod(torch.where)
    reciprocal = staticmethod(torch.reciprocal)

    def divide(self, a: Any, b: Any) -> Any:
        """Division; of integers truncated towards zero, as ONNX and C do."""
        return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")

    def pow(self, a: Any, b: Any) -> Any:
        """Power; the result has the base's dtype."""
        return torch.pow(a, b).to(a.dtype)

    def cast(self, x: Any, dtype: str) -> Any:
        """Convert to a dtype by the signature's name."""
        return x.to(TORCH_DTYPES[dtype])

    def scalar(self, value: float | bool, like: Any) -> Any:
        """A rank-0 constant of another tensor's dtype."""
        return torch.scalar_tensor(value, dtype=like.dtype, device=like.device)
