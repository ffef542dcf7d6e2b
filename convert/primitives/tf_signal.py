"""TensorFlow's primitives for Fourier transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xport.convert.primitives.tf_resampling import TfResampling


class TfSignal(TfResampling):
    """Fourier transforms; complex numbers are pairs along the last axis."""

    def fourier(self, x: Any, axis: int, length: Any, inverse: bool, onesided: bool) -> Any:
        """The discrete Fourier transform along an axis, whose size fits ``length`` already.

        Args:
            x: The signal; its last axis holds the real and perhaps the imaginary part.
            axis: The axis to transform.
            length: The number of points.
            inverse: Whether to transform back.
            onesided: Whether the spectrum holds only its first half, the other being its mirror image.
        """
        if self.flavor == "tflite":
            return self._fourier_by_matrix(x, axis, length, inverse, onesided)
        kind = x.dtype
        x = tf.cast(x, tf.float64)  # so that what ought to cancel does
        rank = x.shape.rank
        order = [*(i for i in range(rank) if i not in (axis, rank - 1)), axis, rank - 1]
        pairs = tf.transpose(x, order)
        real = pairs[..., 0]
        back = [order.index(i) for i in range(rank)]
        size = [self.size_scalar(length)]
        if inverse and onesided:
            signal = tf.signal.irfft(_complex(pairs), size)
            return tf.transpose(tf.cast(signal, kind)[..., None], back)
        if onesided and x.shape[-1] == 1:
            spectrum = tf.signal.rfft(real, size)
        elif inverse:
            spectrum = tf.signal.ifft(_complex(pairs))
        else:
            spectrum = tf.signal.fft(_complex(pairs))
            spectrum = spectrum[..., : size[0] // 2 + 1] if onesided else spectrum
        pairs = tf.stack([tf.math.real(spectrum), tf.math.imag(spectrum)], -1)
        return tf.transpose(tf.cast(pairs, kind), back)

    def _fourier_by_matrix(self, x: Any, axis: int, length: Any, inverse: bool, onesided: bool) -> Any:
        """The transform as its defining sum, since TFLite has no such kernel."""
        half = length // 2 + 1 if onesided else length
        counts = (length, half) if inverse else (half, length)
        cosine, sine = self._waves(x, counts[0], counts[1], length)
        if inverse:
            share = self._shares(x, counts[1], length, onesided)
            cosine, sine = [part * share for part in cosine], [part * -share for part in sine]
        real = x[..., :1]
        first, second = self._mixed(real, cosine, axis), -self._mixed(real, sine, axis)
        if x.shape[-1] == 2:
            imaginary = x[..., 1:]
            first = first + self._mixed(imaginary, sine, axis)
            second = second + self._mixed(imaginary, cosine, axis)
        result = first if inverse and onesided else tf.concat([first, second], -1)
        return result / self.size_like(length, x) if inverse else result

    def _waves(self, x: Any, rows: Any, columns: Any, length: Any) -> tuple[list[Any], list[Any]]:
        """Cosines and sines of all products of positions, each as leading bits and the rest."""
        if all(isinstance(v, int) for v in (rows, columns, length)):
            steps = np.outer(np.arange(rows), np.arange(columns)) % length
            angles = steps * (2 * np.pi / max(length, 1))
            leads = [np.round(wave * 4096) / 4096 for wave in (np.cos(angles), np.sin(angles))]
            rests = [np.cos(angles) - leads[0], np.sin(angles) - leads[1]]
            pairs = [[tf.constant(p.astype(np.float32)) for p in pair] for pair in zip(leads, rests, strict=True)]
            return pairs[0], pairs[1]
        turn = self.size_scalar(length)
        turns = (self.positions(rows)[:, None] * self.positions(columns)[None, :]) % turn
        angle = tf.cast(turns, x.dtype) * (tf.constant(2 * np.pi, x.dtype) / tf.cast(turn, x.dtype))
        return [tf.cos(angle)], [tf.sin(angle)]

    def _shares(self, x: Any, half: Any, length: Any, onesided: bool) -> Any:
        """How often each coefficient of a spectrum counts: twice, if its mirror image is left out."""
        if not onesided:
            return tf.ones((), x.dtype)
        place = self.positions(half)
        alone = (place == 0) | (place * 2 == self.size_scalar(length))
        return tf.where(alone, tf.ones((), x.dtype), tf.constant(2, x.dtype))

    def _mixed(self, x: Any, parts: Sequence[Any], axis: int) -> Any:
        """Multiply by a matrix in parts: products of the leading bits alone are exact for short numbers."""
        return tf.add_n([self.mix_axis(x, part, axis) for part in parts])


def _complex(pairs: Any) -> Any:
    real = pairs[..., 0]
    return tf.complex(real, pairs[..., 1] if pairs.shape[-1] == 2 else tf.zeros_like(real))
