"""Fourier transforms, windows and filter banks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering.interpreter import dtype_name
from xport.convert.lowering.registry import Sizes, Static, Tensor, op, refuse


@op("DFT", since=20)
def dft(
    xp: Any,
    x: Tensor,
    dft_length: Sizes | None = None,
    axis: Static | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Any:
    """The discrete Fourier transform along an axis, of real or complex numbers, forth or back."""
    along = -2 if axis is None else int(axis.reshape(()))
    return _dft(xp, x, dft_length, along, bool(inverse), bool(onesided))


@op("DFT", since=17, until=19)
def dft_17(
    xp: Any, x: Tensor, dft_length: Sizes | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Any:
    """The older form, with the axis as an attribute."""
    return _dft(xp, x, dft_length, axis, bool(inverse), bool(onesided))


def _dft(xp: Any, x: Any, given: list[Any] | None, axis: int, inverse: bool, onesided: bool) -> Any:
    rank, sizes = xp.rank(x), xp.shape(x)
    axis %= rank
    if axis == rank - 1 or sizes[-1] not in (1, 2):
        raise refuse(f"a transform along axis {axis} of sizes {sizes}", "the last axis holds the complex parts")
    if onesided and not inverse and sizes[-1] != 1:
        raise refuse("onesided=1 of complex numbers", "only real ones have a mirrored spectrum")
    size = sizes[axis]
    default = 2 * (size - 1) if inverse and onesided else size
    length = given[0] if given else default
    points = length // 2 + 1 if inverse and onesided else length
    wide = xp.widened(x)
    wide = xp.cast(wide, "float32") if xp.dtype(wide) in ("float16", "bfloat16") else wide
    if given:
        wide = _fitted(xp, wide, axis, size, points)
    return xp.cast(xp.fourier(wide, axis, length, inverse, onesided), xp.dtype(x))


def _fitted(xp: Any, x: Any, axis: int, size: Any, wanted: Any) -> Any:
    """Cut an axis, or lengthen it by zeros."""
    if isinstance(size, int) and isinstance(wanted, int):
        return xp.pad_image(x, [(0, wanted - size) if a == axis else (0, 0) for a in range(xp.rank(x))])
    place = xp.positions(wanted)
    inside = place < xp.size_scalar(size)
    line = xp.reshape(inside, [-1 if a == axis else 1 for a in range(xp.rank(x))])
    return xp.where(line, xp.take(x, xp.where(inside, place, place * 0), axis), xp.scalar(0, x))


@op("STFT", since=17)
def stft(
    xp: Any,
    signal: Tensor,
    frame_step: Sizes,
    window: Tensor | None = None,
    frame_length: Sizes | None = None,
    *,
    onesided: int = 1,
) -> Any:
    """Fourier transforms of frames cut from signals at regular steps and weighted by a window."""
    sizes = xp.shape(signal)
    if len(sizes) == 2:
        sizes = [*sizes, 1]
    batch, total, parts = sizes
    if parts not in (1, 2) or (onesided and parts == 2):
        raise refuse(f"a signal with {parts} parts and onesided={onesided}", "only real ones have a mirrored spectrum")
    length = frame_length[0] if frame_length else None
    if window is not None:
        width = xp.shape(window)[0]
        if length is None or not isinstance(length, int):
            length = width
        elif isinstance(width, int) and width != length:
            raise refuse(f"a window of {width} for frames of {length}", "they must agree")
    if length is None:
        raise refuse("neither window nor frame_length", "one of them is required")
    step = frame_step[0]
    count = (total - length) // step + 1
    wide = xp.widened(signal)
    wide = xp.cast(wide, "float32") if xp.dtype(wide) in ("float16", "bfloat16") else wide
    starts = xp.reshape(xp.positions(count, step), [-1, 1])
    places = xp.reshape(starts + xp.reshape(xp.positions(length), [1, -1]), [-1])
    frames = xp.reshape(xp.take(xp.reshape(wide, [batch, total, parts]), places, 1), [batch, count, length, parts])
    if window is not None:
        weights = xp.cast(xp.widened(window), xp.dtype(wide))
        frames = frames * xp.reshape(weights, [1, 1, -1, 1])
    return xp.cast(xp.fourier(frames, 2, length, False, bool(onesided)), xp.dtype(signal))


@op("HannWindow", since=17)
def hann_window(xp: Any, size: Sizes, *, output_datatype: int = 1, periodic: int = 1) -> Any:
    """A raised cosine."""
    return _window(xp, size[0], output_datatype, periodic, (0.5, -0.5))


@op("HammingWindow", since=17)
def hamming_window(xp: Any, size: Sizes, *, output_datatype: int = 1, periodic: int = 1) -> Any:
    """A raised cosine on a pedestal."""
    return _window(xp, size[0], output_datatype, periodic, (25 / 46, -21 / 46))


@op("BlackmanWindow", since=17)
def blackman_window(xp: Any, size: Sizes, *, output_datatype: int = 1, periodic: int = 1) -> Any:
    """A sum of two cosines."""
    return _window(xp, size[0], output_datatype, periodic, (0.42, -0.5, 0.08))


def _window(xp: Any, size: Any, output_datatype: int, periodic: int, shares: tuple[float, ...]) -> Any:
    """A sum of cosines of whole multiples of the base frequency."""
    kind = dtype_name(ir.DataType(output_datatype))
    period = size if periodic else size - 1
    if isinstance(size, int):
        with np.errstate(all="ignore"):
            angle = np.arange(size) * 2 * math.pi / np.float64(period)
        values = sum(share * np.cos(i * angle) for i, share in enumerate(shares))
        return np.asarray(values, np.float32 if kind not in ("float64",) else np.float64).astype(kind)
    position = xp.cast(xp.positions(size), "float32")
    angle = position * (2 * math.pi) / xp.size_like(period, position)
    total = position * 0.0 + shares[0]
    for i, share in enumerate(shares[1:], start=1):
        total = total + xp.cos(angle * float(i)) * share
    return xp.cast(total, kind)


@op("MelWeightMatrix", since=17)
def mel_weight_matrix(
    xp: Any,
    num_mel_bins: Sizes,
    dft_length: Sizes,
    sample_rate: Sizes,
    lower_edge_hertz: Tensor,
    upper_edge_hertz: Tensor,
    *,
    output_datatype: int = 1,
) -> Any:
    """Triangular filters, evenly spaced on the mel scale, as a matrix from frequencies to bands."""
    kind = "float32" if xp.flavor == "tflite" else "float64"
    edges = [_mel(xp, xp.reshape(xp.cast(e, kind), [])) for e in (lower_edge_hertz, upper_edge_hertz)]
    count = num_mel_bins[0] + 2
    line = xp.cast(xp.positions(count), kind)
    mels = line * ((edges[1] - edges[0]) / xp.size_like(count, line)) + edges[0]
    hertz = (xp.exp(mels * (math.log(10) / 2595)) - 1.0) * 700.0
    bins = xp.floor(hertz * xp.size_like(dft_length[0] + 1, line) / xp.size_like(sample_rate[0], line))
    bands = num_mel_bins[0]
    low, middle, high = (xp.reshape(xp.slice(bins, [(0, i, bands + i, 1)]), [1, -1]) for i in range(3))
    place = xp.reshape(xp.cast(xp.positions(dft_length[0] // 2 + 1), kind), [-1, 1])
    zero, one = xp.scalar(0.0, line), xp.scalar(1.0, line)
    rise = xp.where(middle > low, (place - low) / xp.maximum(middle - low, one), one)
    fall = (high - place) / xp.maximum(high - middle, one)
    rising = (place >= low) & (place <= middle) & ((middle > low) | (place >= middle))
    falling = (place >= middle) & (place < high)
    weights = xp.where(falling, fall, xp.where(rising, rise, zero))
    return xp.cast(weights, dtype_name(ir.DataType(output_datatype)))


def _mel(xp: Any, hertz: Any) -> Any:
    """A frequency on the mel scale."""
    return xp.log(hertz / 700.0 + 1.0) * (2595 / math.log(10))


@op("ImageDecoder", since=20)
def image_decoder(xp: Any, encoded_stream: Tensor, *, pixel_format: str = "RGB") -> Any:
    """Refused: decoders differ from library to library, pixel by pixel."""
    raise refuse("ImageDecoder", "no target decodes images with pixel-exact agreement; decode before the model")
