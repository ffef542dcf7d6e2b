"""TensorFlow's Fourier transforms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xport.convert.importing import fourier, shaping, slicing
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_complex import Pair, joined, pair
from xport.convert.importing.tf_registry import COMPLEX, Call, op
from xport.convert.importing.tf_shapes import ints


def _length(c: Call, x: Tensor, axis: int) -> int:
    size = (x.dims or ())[axis] if x.rank else "?"
    if not isinstance(size, int):
        raise c.refuse("the length of a Fourier transform must be known while converting")
    return size


def _count(c: Call) -> int:
    """How many axes are transformed: ``FFT`` one, ``FFT2D`` two."""
    ending = c.op.type[-2:]
    return int(ending[0]) if ending in ("2D", "3D") else 1


@op("FFT", "FFT2D", "FFT3D", "IFFT", "IFFT2D", "IFFT3D", table=COMPLEX)
def _fft(c: Call) -> Tensor:
    z = pair(c.x)
    for axis in range(-1, -1 - _count(c), -1):
        z = fourier.along(c.w, z, axis, _length(c, z.real, axis), inverse=c.op.type.startswith("I"))
    return joined(z.real, z.imag)


def _fitted(c: Call, x: Tensor, lengths: Sequence[int], axes: Sequence[int]) -> Tensor:
    """The beginning of some axes, with zeros where they are too short."""
    rank = shaping.rank_of(x)
    rows = np.zeros((rank, 2), np.int64)
    for axis, length in zip(axes, lengths, strict=True):
        size = (x.dims or ())[axis]
        if isinstance(size, int) and size < length:
            rows[axis, 1] = length - size
        elif size != length:
            x = slicing.cut(c.w, x, [(axis % rank, 0, length, 1)])
            dims = list(x.dims or ())
            dims[axis] = length
            x = x.with_(dims=tuple(dims))
    return slicing.pad(c.w, x, constant(rows))


@op("RFFT", "RFFT2D", "RFFT3D", table=COMPLEX)
def _of_real(c: Call) -> Tensor:
    lengths = ints(c.inputs[1], "The length of a Fourier transform")
    axes = range(-len(lengths), 0)
    z = fourier.of_real(c.w, _fitted(c, c.x, lengths, axes), lengths[-1])
    for axis in reversed(axes[:-1]):
        z = fourier.along(c.w, z, axis, lengths[axis], inverse=False)
    return joined(z.real, z.imag)


@op("IRFFT", "IRFFT2D", "IRFFT3D", table=COMPLEX)
def _to_real(c: Call) -> Tensor:
    lengths = ints(c.inputs[1], "The length of a Fourier transform")
    axes = range(-len(lengths), 0)
    sizes = [*lengths[:-1], lengths[-1] // 2 + 1]
    both = pair(c.x)
    z = Pair(*(_fitted(c, x, sizes, axes) for x in (both.real, both.imag)))
    for axis in axes[:-1]:
        z = fourier.along(c.w, z, axis, lengths[axis], inverse=True)
    return fourier.to_real(c.w, z, lengths[-1])
