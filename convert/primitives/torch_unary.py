"""PyTorch's functions of one float tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from xport.convert.primitives.torch_casts import TorchCasts

SOFTPLUS_THRESHOLD = 40.0
"""Beyond this the correction to ``x`` is below float64's precision too."""


class TorchUnary(TorchCasts):
    """Functions of one float tensor."""

    exp = staticmethod(torch.exp)
    log = staticmethod(torch.log)
    sqrt = staticmethod(torch.sqrt)
    floor = staticmethod(torch.floor)
    ceil = staticmethod(torch.ceil)
    round = staticmethod(torch.round)
    sin = staticmethod(torch.sin)
    cos = staticmethod(torch.cos)
    tan = staticmethod(torch.tan)
    asin = staticmethod(torch.asin)
    acos = staticmethod(torch.acos)
    atan = staticmethod(torch.atan)
    sinh = staticmethod(torch.sinh)
    cosh = staticmethod(torch.cosh)
    asinh = staticmethod(torch.asinh)
    acosh = staticmethod(torch.acosh)
    atanh = staticmethod(torch.atanh)
    tanh = staticmethod(torch.tanh)
    sigmoid = staticmethod(torch.sigmoid)
    erf = staticmethod(torch.erf)
    elu = staticmethod(F.elu)

    def softplus(self, x: Any) -> Any:
        """``log(1 + exp(x))`` without overflow."""
        return F.softplus(x, threshold=SOFTPLUS_THRESHOLD)

    def is_nan(self, x: Any) -> Any:
        """Whether each element is NaN."""
        return torch.isnan(x.float() if self.dtype(x).startswith("float8") else x)

    def leaky_relu(self, x: Any, alpha: float) -> Any:
        """``alpha * x`` below zero, the number itself above."""
        return F.leaky_relu(x, alpha)

    def hard_swish(self, x: Any) -> Any:
        """``x * max(0, min(6, x + 3)) / 6``."""
        return F.hardswish(x)

    def gelu(self, x: Any, approximate: str) -> Any:
        """GELU by erf (``none``) or by tanh."""
        return F.gelu(x, approximate=approximate)

    def lookup(self, x: Any, keys: np.ndarray, values: np.ndarray, default: Any) -> Any:
        """The value of the first key equal to each element, or a default; NaN is found by NaN."""
        table = self.constant(keys).to(x.device)
        hits = torch.eq(x[..., None], table)
        if x.is_floating_point():
            hits = torch.logical_or(hits, torch.logical_and(torch.isnan(x)[..., None], torch.isnan(table)))
        numbers = self.constant(values).to(x.device)
        found = numbers[torch.argmax(hits.to(torch.int32), -1)]
        return torch.where(hits.any(-1), found, self.scalar(default, numbers))
