"""Spectra, and images put together of columns."""

from __future__ import annotations

from typing import Any

from xport.convert.writing.code import call, method
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit, refuse


@emit("STFT")
def short_time_spectrum(node: NodeView) -> Any:
    """Fourier transforms of windowed frames; the last axis has real and imaginary parts."""
    signal, dims = node.x(0), node.shape(0)
    if node.rank(0) == 3:
        if dims is None or dims[2] != 1:
            raise refuse("a complex signal")
        signal = method(signal, "squeeze", -1)
    window = node.shape(2) if node.has(2) else None
    length = node.sizes(3)[0] if node.has(3) else window[0] if window else None
    if not isinstance(length, int) or (window is not None and window[0] not in (length, None)):
        raise refuse("frames of a length that is not known, or not the window's")
    named: dict[str, Any] = {"window": node.x(2)} if node.has(2) else {}
    spectrum = call(
        "torch.stft",
        signal,
        length,
        node.sizes(1)[0],
        **named,
        center=False,
        onesided=bool(node.attr("onesided", 1)),
        return_complex=True,
    )
    return method(call("torch.view_as_real", spectrum), "transpose", 1, 2)


@emit("Col2Im", since=18)
def folded(node: NodeView) -> Any:
    """Columns put back into images, where they overlap added up."""
    image, block = node.sizes(1), node.ints(2, "block_shape") or []
    pads = node.attr("pads") or [0] * (2 * len(block))
    if len(block) != 2 or pads[:2] != pads[2:]:
        raise refuse("images that are not two-dimensional, or padded unevenly")
    return call(
        "F.fold",
        node.x(0),
        tuple(image),
        tuple(block),
        dilation=tuple(node.attr("dilations") or (1, 1)),
        padding=tuple(pads[:2]),
        stride=tuple(node.attr("strides") or (1, 1)),
    )
