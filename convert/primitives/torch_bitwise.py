"""PyTorch's operations on the bits of integers."""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.primitives.torch_arithmetic import TorchArithmetic


class TorchBitwise(TorchArithmetic):
    """AND, OR, XOR, NOT and shifts."""

    bitwise_and = staticmethod(torch.bitwise_and)
    bitwise_or = staticmethod(torch.bitwise_or)
    bitwise_xor = staticmethod(torch.bitwise_xor)

    def bitwise_not(self, x: Any) -> Any:
        """The complement."""
        return (
            torch.bitwise_xor(x, torch.full((), torch.iinfo(x.dtype).max, dtype=x.dtype, device=x.device))
            if (not x.dtype.is_signed)
            else torch.bitwise_not(x)
        )

    def shift_left(self, x: Any, count: Any) -> Any:
        """Move bits up; all of them leave where the count is negative or reaches the width."""
        wide, count, outside = self._operands(x, count)
        shifted = torch.bitwise_left_shift(wide, count)
        return self._narrow(torch.where(outside, torch.zeros_like(shifted), shifted), x)

    def shift_right(self, x: Any, count: Any) -> Any:
        """Move bits down, copying the sign of signed numbers; too large or negative counts leave only the sign."""
        wide, count, outside = self._operands(x, count)
        shifted = torch.bitwise_right_shift(wide, count)
        if x.dtype == torch.uint64:
            # The arithmetic shift copied the top bit into the bits that came free.
            clear = torch.bitwise_left_shift(torch.full_like(wide, -1), (64 - count).clamp(max=63))
            shifted = torch.where(count > 0, torch.bitwise_and(shifted, torch.bitwise_not(clear)), shifted)
            rest = torch.zeros_like(shifted)
        else:
            rest = torch.where(wide < 0, torch.full_like(wide, -1), torch.zeros_like(wide))
        return self._narrow(torch.where(outside, rest, shifted), x)

    def _operands(self, x: Any, count: Any) -> tuple[Any, Any, Any]:
        """Both as int64, counts within the width, and where they were not."""
        bits = torch.iinfo(x.dtype).bits
        if x.dtype == torch.uint64:
            x, count = x.view(torch.int64), count.view(torch.int64)
        x, count = x.to(torch.int64), count.to(torch.int64)
        outside = (count < 0) | (count >= bits)
        return x, torch.where(outside, torch.zeros_like(count), count), outside

    def _narrow(self, result: Any, like: Any) -> Any:
        return result.view(torch.uint64) if like.dtype == torch.uint64 else result.to(like.dtype)
