"""PyTorch's conversions between element types, and what it computes in which type."""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.lowering.registry import refuse
from xport.convert.primitives.narrow_types import FLOAT_CARRIERS, INTEGER_BITS, INTEGER_CARRIERS, FloatFormat
from xport.convert.primitives.rounding import round_to_e8m0, round_to_format, wrap_to_bits
from xport.convert.primitives.torch_core import CARRIED, TORCH_DTYPES, TorchCore
from xport.convert.primitives.widening import Widening

_WIDER = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}
"""PyTorch stores these types and computes next to nothing in them."""

_EVERYWHERE = {"where"}
"""Primitives that take every type."""

_FLOATS = ("float16", "bfloat16", "float32", "float64")


class TorchCasts(Widening, TorchCore):
    """Conversions, carriers and widening; see `Widening`."""

    def wider(self, name: str, dtype: str) -> str | None:
        if name in _EVERYWHERE:
            return dtype
        if name in ("abs", "sign", "neg", "relu") and dtype == "bool":
            return None
        return _WIDER.get(dtype, dtype)

    def recast(self, x: Any, dtype: str) -> Any:
        return x.to(TORCH_DTYPES[dtype])

    def bits64(self, x: Any) -> Any:
        return x.view(torch.int64)

    def from_bits64(self, x: Any) -> Any:
        return x.view(torch.uint64)

    def scalar(self, value: float | bool, like: Any) -> Any:
        """A rank-0 constant of another tensor's dtype."""
        return torch.scalar_tensor(value, dtype=like.dtype, device=like.device)

    def cast(self, x: Any, dtype: str, saturate: bool = True, round_mode: str = "up") -> Any:
        """Convert to a dtype by the signature's name; a carried type becomes its carrier.

        Args:
            x: The tensor.
            dtype: The signature's name of the type.
            saturate: For floats of eight bits: whether what overflows becomes the largest number.
            round_mode: For float8_e8m0fnu: ``up``, ``down`` or ``nearest``.
        """
        source = self.dtype(x)
        if source == dtype:
            return x
        if dtype == "string":
            raise refuse("a cast to string", "PyTorch has no such type")
        if dtype in INTEGER_BITS:
            return self.recast(wrap_to_bits(self, x, dtype), INTEGER_CARRIERS[dtype])
        if dtype in FLOAT_CARRIERS:
            rounded = self._narrow_float(x, dtype, saturate, round_mode)
            return rounded.to(TORCH_DTYPES[CARRIED.get(dtype, dtype)])
        if source.startswith("float8"):
            x = x.to(torch.float32)
        if source in _FLOATS and dtype in ("uint8", "int8", "uint16", "int16", "uint32"):
            x = x.to(torch.int64)
        return x.to(TORCH_DTYPES[dtype])

    def _narrow_float(self, x: Any, dtype: str, saturate: bool, round_mode: str) -> Any:
        if dtype == "float8_e8m0fnu":
            return round_to_e8m0(self, x.to(torch.float32), saturate, round_mode)
        return round_to_format(self, x if x.dtype == torch.float64 else x.to(torch.float32), dtype, saturate)

    def quantum(self, x: Any, form: FloatFormat) -> Any:
        """The spacing of a format's numbers around each element, from the bits of its exponent."""
        single = x.dtype == torch.float32
        explicit, bias, mask = (23, 127, 255) if single else (52, 1023, 2047)
        bits = x.contiguous().view(torch.int32 if single else torch.int64)
        exponent = torch.bitwise_and(bits, mask << explicit).clamp(min=(bias + form.min_exponent) << explicit)
        return (exponent - (form.mantissa << explicit)).view(x.dtype)

    def exponent_and_fraction(self, x: Any) -> tuple[Any, Any]:
        """The biased exponent and the fraction bits of float32 numbers, without the sign."""
        bits = x.contiguous().view(torch.int32)
        return torch.bitwise_and(torch.bitwise_right_shift(bits, 23), 255), torch.bitwise_and(bits, (1 << 23) - 1)

    def power_of_two(self, exponent: Any) -> Any:
        """Two to the power of biased exponents, in float64."""
        return torch.ldexp(torch.ones((), dtype=torch.float64, device=exponent.device), exponent - 127)

    def bit_cast(self, x: Any, dtype: str) -> Any:
        """Reinterpret the bits as another type of the same width."""
        if dtype not in TORCH_DTYPES:
            raise refuse(f"a bit cast to {dtype}", "PyTorch has no such type")
        return x.contiguous().view(TORCH_DTYPES[dtype])

    def receive(self, tensor: Any, dtype: str | None) -> Any:
        """A graph input; types that PyTorch lacks are refused."""
        return self._at_interface("an input", tensor, dtype)

    def deliver(self, tensor: Any, dtype: str | None) -> Any:
        """A graph output; types that PyTorch lacks are refused."""
        return self._at_interface("an output", tensor, dtype)

    def _at_interface(self, what: str, tensor: Any, dtype: str | None) -> Any:
        if dtype in CARRIED:
            raise refuse(f"{what} of {dtype}", "PyTorch has no such type; inside the graph it is fine")
        return tensor
