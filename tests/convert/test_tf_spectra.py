"""TensorFlow's complex numbers and Fourier transforms, read into ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.convert.tf_reading import check
from xport.errors import UnsupportedError

S = tf.signal


def numbers(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def parts(z: Any) -> list[Any]:
    return [tf.math.real(z), tf.math.imag(z)]


NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - 2 * b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "conj": lambda a, b: tf.math.conj(a) - b,
    "square": lambda a, b: tf.square(a) + tf.negative(b),
    "reciprocal": lambda a, b: tf.math.reciprocal(a),
    "exp": lambda a, b: tf.exp(a),
    "log": lambda a, b: tf.math.log(a),
    "no nan": lambda a, b: tf.math.divide_no_nan(a, b - b[0]),
    "product": lambda a, b: tf.matmul(a, b, adjoint_b=True),
    "product 3": lambda a, b: tf.matmul(a[None], b[None], adjoint_a=True)[0],
    "einsum": lambda a, b: tf.einsum("ij,kj->ik", a, b),
    "shapes": lambda a, b: tf.concat(
        [tf.transpose(tf.reshape(a, [-1, 2, 2]), [0, 2, 1]), tf.stack([b[:, :2]] * 2, 1)], 1
    ),
    "slices": lambda a, b: tf.pad(a[:, ::-1], [[0, 0], [1, 1]]) + tf.gather(b, [0, 1, 2, 3, 0, 1], axis=1),
    "sums": lambda a, b: tf.reduce_sum(a, 1) * tf.reduce_mean(b, 1) + tf.cumsum(a)[:, 0],
    "choice": lambda a, b: tf.where(tf.math.real(a) > 0, a, b) + tf.zeros_like(a) + tf.ones_like(b),
    "equal": lambda a, b: tf.cast(tf.cast(tf.equal(a, a) & (a != b), tf.float32), tf.complex64) * 3j,
    "wide": lambda a, b: tf.cast(tf.cast(a, tf.complex128) * (1 + 2j), tf.complex64),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name: str) -> None:
    def run(x: Any, y: Any) -> Any:
        return parts(NUMBERS[name](tf.complex(x, y), tf.complex(y, x * 2)))

    check(run, *[[numbers(n, 4), numbers(n, 4, seed=1)] for n in (3, 5)], scale=4)


def test_size_and_angle() -> None:
    def run(x: Any, y: Any) -> Any:
        z = tf.complex(x, y)
        return tf.abs(z), tf.math.angle(z)

    axis = np.array([0, 1, -1, 2.5, 1e30, -1e-30, np.inf], np.float32)
    x, y = (a.reshape(-1) for a in np.meshgrid(axis, axis[:-1]))
    check(lambda x, y: tf.math.angle(tf.complex(x, y)), [x, y])
    for scale in (1e30, 1, 1e-30):
        x, y = (a.reshape(-1) * np.float32(scale) for a in np.meshgrid(axis[:4], axis[:4]))
        check(run, [x, y])


@pytest.mark.parametrize("n", [1, 2, 7, 16, 60, 127, 400])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transforms_of_length(n: int, dtype: str) -> None:
    def run(x: Any, y: Any) -> Any:
        z = tf.complex(x, y)
        half = S.rfft(x)
        return [*parts(S.fft(z)), *parts(S.ifft(z)), *parts(half), S.irfft(half * half, [n])]

    check(run, *[[numbers(b, n, dtype=dtype), numbers(b, n, dtype=dtype, seed=1)] for b in (2, 3)], scale=8)


@pytest.mark.parametrize("n", [514, 1024, 1764, 3072])
def test_long_transforms(n: int) -> None:
    def run(x: Any) -> Any:
        half = S.rfft(x)
        return [*parts(S.ifft(S.fft(tf.complex(x, x + 1)) * 1j)), *parts(half), S.irfft(half * half, [n])]

    check(run, [numbers(3, n)], scale=8)


@pytest.mark.parametrize("length", [9, 12, 40])
def test_transforms_fit_their_length(length: int) -> None:
    def run(x: Any) -> Any:
        half = S.rfft(x, [length])
        return [*parts(half), S.irfft(half, [length + 3]), S.irfft(half, [length - 3])]

    check(run, [numbers(2, 20)], scale=4)


AXES: dict[str, Callable[[Any], Any]] = {
    "fft2d": lambda x: parts(S.ifft2d(S.fft2d(tf.complex(x, -x)) * 2j)),
    "fft3d": lambda x: parts(S.ifft3d(S.fft3d(tf.complex(x, -x)) * 2j)),
    "rfft2d": lambda x: [*parts(S.rfft2d(x, [8, 4])), S.irfft2d(S.rfft2d(x), [5, 6])],
    "rfft3d": lambda x: [*parts(S.rfft3d(x)), S.irfft3d(S.rfft3d(x), [3, 5, 6])],
    "shift": lambda x: parts(S.ifftshift(S.fftshift(S.rfft(x), axes=[1, 2]) * 2, axes=[2])),
    "mixing": lambda x: tf.math.real(S.fft2d(tf.cast(x, tf.complex64))),
}


@pytest.mark.parametrize("name", AXES)
def test_several_axes(name: str) -> None:
    check(AXES[name], [numbers(2, 3, 5, 6)], [numbers(3, 3, 5, 6)], scale=8)


SOUND: dict[str, Callable[[Any], Any]] = {
    "stft": lambda x: tf.abs(S.stft(x, 200, 80, pad_end=True)),
    "odd": lambda x: parts(S.stft(x, 127, 60, fft_length=127, window_fn=None)),
    "back": lambda x: S.inverse_stft(S.stft(x, 128, 64), 128, 64, window_fn=S.inverse_stft_window_fn(64)),
    "cepstra": lambda x: S.mfccs_from_log_mel_spectrograms(
        tf.math.log(tf.abs(S.stft(x, 256, 128)) @ S.linear_to_mel_weight_matrix(20, 129, 16000) + 1e-6)
    ),
    **{f"dct{k}": lambda x, k=k: S.dct(x[:, :32], k, norm=None if k == 1 else "ortho") for k in (1, 2, 3, 4)},
    **{f"idct{k}": lambda x, k=k: S.idct(x[:, :33], k) for k in (1, 2, 3, 4)},
    "mdct": lambda x: S.inverse_mdct(S.mdct(x[:, :256], 64)),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound(name: str) -> None:
    check(SOUND[name], [numbers(2, 2000)], [numbers(3, 2000)], scale=16)


@pytest.mark.parametrize("name", ["stft", "cepstra"])
def test_sound_of_any_length(name: str) -> None:
    check(SOUND[name], [numbers(2, 2000)], [numbers(1, 777)], dynamic={0: [0, 1]}, scale=16)


def test_what_complex_numbers_cannot_do_is_named() -> None:
    def run(x: Any) -> Any:
        return tf.math.real(tf.linalg.inv(tf.complex(x, x)))

    with pytest.raises(UnsupportedError, match="MatrixInverse of complex numbers"):
        check(run, [numbers(3, 3)])
    with pytest.raises(UnsupportedError, match="a prime number"):
        check(lambda x: tf.abs(S.rfft(x)), [numbers(1, 4099)])
