"""TensorFlow's primitives for Fourier transforms."""

from __future__ import annotations

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
        whole, part = self.positions(length), self.positions(length // 2 + 1 if onesided else length)
        outer, inner = (whole, part) if inverse else (part, whole)
        turn = self.size_scalar(length)
        steps = tf.cast((outer[:, None] * inner[None, :]) % turn, x.dtype)
        angle = steps * (tf.constant(2 * np.pi, x.dtype) / tf.cast(turn, x.dtype))
        cosine, sine = tf.cos(angle), tf.sin(angle)
        if inverse:
            cosine, sine = cosine / tf.cast(turn, x.dtype), -sine / tf.cast(turn, x.dtype)
        if inverse and onesided:
            ends = (inner == 0) | (inner * 2 == turn)
            twice = tf.where(ends, tf.ones((), x.dtype), tf.constant(2, x.dtype))
            cosine, sine = cosine * twice, sine * twice
        real = x[..., :1]
        first, second = self._split_mix(real, cosine, axis), -self._split_mix(real, sine, axis)
        if x.shape[-1] == 2:
            imaginary = x[..., 1:]
            first = first + self._split_mix(imaginary, sine, axis)
            second = second + self._split_mix(imaginary, cosine, axis)
        return first if inverse and onesided else tf.concat([first, second], -1)

    def _split_mix(self, x: Any, matrix: Any, axis: int) -> Any:
        """Multiply by a matrix in two parts, so that the products of the leading bits are exact."""
        lead = tf.round(matrix * 4096) / 4096
        return self.mix_axis(x, lead, axis) + self.mix_axis(x, matrix - lead, axis)


def _complex(pairs: Any) -> Any:
    real = pairs[..., 0]
    return tf.complex(real, pairs[..., 1] if pairs.shape[-1] == 2 else tf.zeros_like(real))
