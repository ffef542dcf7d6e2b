"""The arithmetic of sliding windows, which convolutions and pools share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xport.convert.lowering.registry import refuse


@dataclass(frozen=True)
class Windows:
    """Where the windows of a pool lie.

    Attributes:
        sizes: Spatial sizes of the input.
        kernel: Taps per axis.
        strides: Steps between windows.
        dilations: Steps between taps.
        pads: Begin and end padding that belongs to the operator.
        padding: `pads`, with as much more at the end as rounding up the number of windows needs.
        counts: The number of windows per axis.
        trim: Whether the padded size holds more windows than `counts`.
    """

    sizes: list[Any]
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[tuple[Any, Any]]
    padding: list[tuple[Any, Any]]
    counts: list[Any]
    trim: bool


def spatial_sizes(xp: Any, x: Any) -> list[Any]:
    """The spatial sizes of an image."""
    sizes = xp.shape(x)
    return [sizes[axis] for axis in xp.spatial_axes(len(sizes))]


def windows(
    xp: Any,
    x: Any,
    kernel: list[int],
    strides: list[int] | None,
    dilations: list[int] | None,
    auto_pad: str,
    pads: list[int] | None,
    ceil_mode: int,
) -> Windows:
    """Lay the windows of a pool; arguments are the node's attributes."""
    n = len(kernel)
    sizes = spatial_sizes(xp, x)
    if n != len(sizes) or n not in (1, 2, 3):
        raise refuse(f"a window of {n} axes over {len(sizes)} spatial axes", "one to three, and as many, are known")
    strides, dilations = strides or [1] * n, dilations or [1] * n
    effective = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    own = resolve_pads(xp, auto_pad, pads, sizes, effective, strides)
    ceil = bool(ceil_mode) and auto_pad == "NOTSET"
    laid = [_lay(*row, ceil) for row in zip(sizes, own, effective, strides, strict=True)]
    padding = [(b, e + more) for (b, e), (more, _, _) in zip(own, laid, strict=True)]
    counts = [count for _, count, _ in laid]
    if any(isinstance(count, int) and count < 1 for count in counts):
        raise refuse(f"windows of {effective} over an image of {sizes}, padded by {own}", "none fits, nothing is left")
    return Windows(sizes, kernel, strides, dilations, own, padding, counts, any(trim for _, _, trim in laid))


def _lay(size: Any, pad: tuple[Any, Any], kernel: int, stride: int, ceil: bool) -> tuple[Any, Any, bool]:
    """More end padding, the number of windows, and whether the padded size would hold more than that."""
    begin, end = pad
    room = size + begin + end - kernel
    if not ceil:
        return 0, room // stride + 1, False
    if not isinstance(room, int):
        if end - kernel + stride <= 0:
            return stride - 1, (room + stride - 1) // stride + 1, False
        # Rounding up may start a window behind the input, and such a window is dropped.
        return stride - 1, (size + begin + stride - 1) // stride, True
    count = -(-room // stride) + 1
    if (count - 1) * stride >= size + begin:
        count -= 1
    return max((count - 1) * stride - room, 0), count, False


def resolve_pads(
    xp: Any, auto_pad: str, pads: list[int] | None, sizes: list[Any], kernel: list[Any], strides: list[int]
) -> list[tuple[Any, Any]]:
    """Begin and end padding per spatial axis.

    Args:
        xp: The target.
        auto_pad: ``NOTSET``, ``VALID``, ``SAME_UPPER`` or ``SAME_LOWER``.
        pads: The node's pads, all begins and then all ends.
        sizes: Spatial sizes of the input.
        kernel: Effective kernel sizes, dilation included.
        strides: Strides.

    Returns:
        One pair an axis.
    """
    n = len(kernel)
    if auto_pad == "VALID" or (auto_pad in ("NOTSET", "") and pads is None):
        return [(0, 0)] * n
    if auto_pad in ("NOTSET", "") and pads is not None:
        return [(pads[i], pads[n + i]) for i in range(n)]
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise refuse(f"auto_pad {auto_pad!r}", "the specification does not define it")
    padding = []
    for size, k, stride in zip(sizes, kernel, strides, strict=True):
        total = k - 1 if stride == 1 else xp.largest(((size + stride - 1) // stride - 1) * stride + k - size, 0)
        small = total // 2
        padding.append((small, total - small) if auto_pad == "SAME_UPPER" else (total - small, small))
    return padding
