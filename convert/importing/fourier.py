"""Discrete Fourier transforms as matrix products.

ONNX has an operator for them, but ONNX Runtime computes lengths that are no powers of two with hundreds of times the
rounding of other libraries. A product with the table of sines and cosines keeps to about twice their rounding; long
transforms are taken apart into two shorter ones (Cooley and Tukey), which keeps the tables small.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xport.convert.importing import elementwise as e
from xport.convert.importing import joining, reducing, shaping, slicing
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_complex import Pair
from xport.convert.importing.writer import Writer
from xport.errors import UnsupportedError
from xport.signature import numpy_dtype

DIRECT = 512
"""Up to this length one table does the whole transform."""

LONGEST = 4096
"""Longer transforms must have divisors: their table would have more than 128 MB."""


def waves(rows: np.ndarray, columns: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of ``2 pi rows columns / n``; exactly zero and one where they are."""
    turns = np.outer(rows, columns) % n
    angle = 2 * np.pi * np.arange(n) / n
    cosine, sine = np.cos(angle), np.sin(angle)
    for values, zeros in ((cosine, (1, 3)), (sine, (0, 2))):
        values[[k * n // 4 for k in zeros if k * n % 4 == 0]] = 0
    return cosine[turns], sine[turns]


def along_last(w: Writer, z: Pair, n: int, *, inverse: bool, real: bool = False) -> Pair:
    """The transform along the last axis, which has the length ``n``.

    Args:
        w: The writer.
        z: The numbers.
        n: The length.
        inverse: Back from frequencies, with the factor ``1 / n``.
        real: Whether the imaginary parts are zero.

    Raises:
        UnsupportedError: If the length is large and has no divisors.
    """
    if n <= DIRECT or _divisor(n) == 1:
        if n > LONGEST:
            raise UnsupportedError(f"A Fourier transform of length {n}, a prime number, would need a table too large.")
        return _direct(w, z, n, inverse, real)
    return _apart(w, z, n, inverse, real)


def _divisor(n: int) -> int:
    """The largest divisor up to the square root."""
    return max(d for d in range(1, int(n**0.5) + 1) if n % d == 0)


def _direct(w: Writer, z: Pair, n: int, inverse: bool, real: bool) -> Pair:
    cosine, sine = waves(np.arange(n), np.arange(n), n)
    sine = sine if inverse else -sine
    upper, lower = np.concatenate([cosine, sine], 1), np.concatenate([-sine, cosine], 1)
    table = upper if real else np.concatenate([upper, lower])
    x = z.real if real else joining.concat(w, [z.real, z.imag], -1)
    return _halves(w, times(w, x, table / n if inverse else table), [n, n])


def times(w: Writer, x: Tensor, table: np.ndarray) -> Tensor:
    """The last axis times a matrix."""
    return reducing.matmul(w, x, constant(table.astype(numpy_dtype(x.dtype))))


def _halves(w: Writer, x: Tensor, lengths: list[int]) -> Pair:
    real, imag = joining.split(w, x, -1, lengths, 2)
    return Pair(real, imag)


def _apart(w: Writer, z: Pair, n: int, inverse: bool, real: bool) -> Pair:
    """Of ``n = a * b``: transforms of every b-th number, turned, then transforms of those."""
    a = _divisor(n)
    b, lead = n // a, shaping.rank_of(z.real) - 1
    grid = _each(z, lambda x: slicing.reshape_last(w, x, lead, [a, b]))
    first = along(w, grid, lead, a, inverse=inverse, real=real)
    cosine, sine = waves(np.arange(a), np.arange(b), n)
    turned = _turned(w, first, cosine, sine if inverse else -sine)
    second = along_last(w, turned, b, inverse=inverse)
    order = [*range(lead), lead + 1, lead]
    return _each(second, lambda x: slicing.reshape_last(w, w.transpose(x, order), lead, [n]))


def _each(z: Pair, change: Callable[[Tensor], Tensor]) -> Pair:
    return Pair(change(z.real), change(z.imag))


def _turned(w: Writer, z: Pair, cosine: np.ndarray, sine: np.ndarray) -> Pair:
    c, s = (constant(table.astype(numpy_dtype(z.real.dtype))) for table in (cosine, sine))

    def product(x: Tensor, table: Tensor) -> Tensor:
        return e.apply(w, "Mul", [x, table])

    real = e.apply(w, "Sub", [product(z.real, c), product(z.imag, s)])
    return Pair(real, e.apply(w, "Add", [product(z.real, s), product(z.imag, c)]))


def along(w: Writer, z: Pair, axis: int, n: int, *, inverse: bool, real: bool = False) -> Pair:
    """The transform along an axis; see `along_last`."""
    rank = shaping.rank_of(z.real)
    axis %= rank
    order = [*(i for i in range(rank) if i != axis), axis]
    back = [order.index(i) for i in range(rank)]
    made = along_last(w, _each(z, lambda x: w.transpose(x, order)), n, inverse=inverse, real=real)
    return _each(made, lambda x: w.transpose(x, back))


def of_real(w: Writer, x: Tensor, n: int) -> Pair:
    """The frequencies from zero to the highest of real numbers along the last axis."""
    bins = n // 2 + 1
    if n > DIRECT and _divisor(n) > 1:
        whole = _apart(w, Pair(x, x), n, inverse=False, real=True)
        return _each(whole, lambda part: slicing.cut(w, part, [(shaping.rank_of(x) - 1, 0, bins, 1)]))
    if n > LONGEST:
        raise UnsupportedError(f"A Fourier transform of length {n}, a prime number, would need a table too large.")
    cosine, sine = waves(np.arange(n), np.arange(bins), n)
    return _halves(w, times(w, x, np.concatenate([cosine, -sine], 1)), [bins, bins])


def to_real(w: Writer, z: Pair, n: int) -> Tensor:
    """Real numbers of their frequencies from zero to the highest, along the last axis."""
    bins, last = n // 2 + 1, shaping.rank_of(z.real) - 1
    if n > DIRECT and _divisor(n) > 1:
        mirrored = _each(z, lambda x: slicing.cut(w, slicing.reverse(w, x, [last]), [(last, 1 - n % 2, bins - 1, 1)]))
        imag = e.apply(w, "Neg", [mirrored.imag])
        parts = ((z.real, mirrored.real), (z.imag, imag))
        return _apart(w, Pair(*(joining.concat(w, list(p), last) for p in parts)), n, inverse=True, real=False).real
    cosine, sine = waves(np.arange(bins), np.arange(n), n)
    weight = np.full((bins, 1), 2 / n)
    weight[[0, bins - 1] if n % 2 == 0 else [0]] = 1 / n
    return times(w, joining.concat(w, [z.real, z.imag], -1), np.concatenate([weight * cosine, -weight * sine]))
