"""PyTorch's primitives for attention."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from xport.convert.primitives.torch_shapes import TorchShapes


class TorchAttention(TorchShapes):
    """Primitives for attention."""

    def iota(self, size: Any) -> Any:
        """The numbers from zero below a size, as int32."""
        return torch.arange(size, dtype=torch.int32, device=self.device)

    def size_scalar(self, size: Any) -> Any:
        """A size as an int32 scalar."""
        if isinstance(size, torch.Tensor):
            return size.to(torch.int32)
        return torch.scalar_tensor(size, dtype=torch.int32, device=self.device)

    def scaled_dot_product(self, q: Any, k: Any, v: Any, bias: Any, scale: float) -> Any:
        """PyTorch's kernel: ``softmax(scale * q @ k.T + bias) @ v``."""
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
