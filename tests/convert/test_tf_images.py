"""TensorFlow's operators on images and boxes, read into ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.convert.tf_reading import check

RAW = tf.raw_ops
METHODS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area", "gaussian", "mitchellcubic")
KERNELS = ("lanczos1", "lanczos3", "lanczos5", "gaussian", "box", "triangle", "keyscubic", "mitchellcubic")


def image(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).random(shape)
    return (drawn * 255 if dtype == "uint8" else drawn).astype(dtype)


def boxes(*lead: int, seed: int = 0) -> np.ndarray:
    corners = np.random.default_rng(seed).random((*lead, 2, 2)).astype(np.float32)
    corners[..., 1, :] = corners[..., 0, :] + 0.3 * corners[..., 1, :] + 0.05
    return corners.reshape(*lead, 4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(5, 14), (18, 7)])
def test_resizing(method: str, antialias: bool, size: tuple[int, int]) -> None:
    def run(x: Any) -> Any:
        return tf.image.resize(x, size, method=method, antialias=antialias)

    check(run, [image(2, 9, 11, 3)], [image(3, 9, 11, 3)])


@pytest.mark.parametrize("method", METHODS)
def test_resizing_images_of_any_size(method: str) -> None:
    def run(x: Any, size: Any) -> Any:
        return tf.image.resize(x, size, method=method, antialias=True)

    feeds = [[image(1, h, w, 2), np.array(size, np.int32)] for h, w, size in ((9, 11, (5, 14)), (6, 4, (12, 3)))]
    check(run, *feeds, dynamic={0: [0, 1, 2], 1: []})


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("antialias", [False, True])
def test_scale_and_translate(kernel: str, antialias: bool) -> None:
    def run(x: Any) -> Any:
        place: dict[str, Any] = {"size": [8, 9], "scale": [0.8, 1.3], "translation": [-1.5, 2.0]}
        return RAW.ScaleAndTranslate(images=x, **place, kernel_type=kernel, antialias=antialias)

    check(run, [image(2, 9, 7, 3)])
    check(run, [image(2, 9, 7, 3, dtype="uint8")])


@pytest.mark.parametrize(("corners", "half"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_cubic_and_area_in_their_older_forms(corners: bool, half: bool, dtype: str) -> None:
    def run(x: Any) -> Any:
        cubic = RAW.ResizeBicubic(images=x, size=[13, 4], align_corners=corners, half_pixel_centers=half)
        return cubic, RAW.ResizeArea(images=x, size=[13, 4], align_corners=corners)

    check(run, [image(2, 9, 7, 3, dtype=dtype)])


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("size", "stride", "rate"), [((3, 2), (2, 2), (1, 2)), ((1, 1), (1, 3), (1, 1)), ((4, 4),) * 3]
)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64"])
def test_patches(padding: str, size: Any, stride: Any, rate: Any, dtype: str) -> None:
    rate = (1, 1) if rate == (4, 4) else rate

    def run(x: Any) -> Any:
        return tf.image.extract_patches(x, [1, *size, 1], [1, *stride, 1], [1, *rate, 1], padding)

    check(run, [image(2, 9, 11, 3, dtype=dtype)])
    check(run, [image(2, 8, 8, 3, dtype=dtype)], [image(1, 11, 6, 3, dtype=dtype)], dynamic={0: [0, 1, 2]})


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_dilation(padding: str, dtype: str) -> None:
    kernel = image(3, 2, 3, dtype=dtype, seed=1) // 2

    def run(x: Any) -> Any:
        steps: dict[str, Any] = {"strides": [1, 2, 1, 1], "rates": [1, 1, 2, 1]}
        return RAW.Dilation2D(input=x, filter=kernel, padding=padding, **steps)

    x = image(2, 9, 11, 3, dtype=dtype)
    check(run, [x // 2 if dtype == "uint8" else x - 0 if dtype == "int32" else x - 2])


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_pooling_with_places(padding: str, batch: bool, dtype: str) -> None:
    def run(x: Any) -> Any:
        return tf.nn.max_pool_with_argmax(x, 3, 2, padding, include_batch_in_index=batch, output_dtype=tf.int64)

    x = (image(3, 9, 11, 3) * 8).astype(dtype)  # with equal ones
    check(run, [x], [x[:1]])


COLOURS: dict[str, Callable[[Any], Any]] = {
    "hsv": tf.image.rgb_to_hsv,
    "rgb": tf.image.hsv_to_rgb,
    "hue": lambda x: tf.image.adjust_hue(x, 0.3),
    "hue back": lambda x: tf.image.adjust_hue(x, -0.8),
    "saturation": lambda x: tf.image.adjust_saturation(x, 1.7),
    "contrast": lambda x: tf.image.adjust_contrast(x, 1.7),
}


@pytest.mark.parametrize("name", COLOURS)
def test_colours(name: str) -> None:
    x = image(2, 5, 6, 3)
    x[0, 0] = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.2]]
    check(COLOURS[name], [x], [x[:1]], scale=4)


def test_blocks_of_the_batch() -> None:
    def run(x: Any) -> Any:
        blocks = RAW.SpaceToBatch(input=x, paddings=[[1, 0], [0, 1]], block_size=2)
        return blocks, RAW.BatchToSpace(input=blocks, crops=[[1, 0], [0, 1]], block_size=2)

    check(run, [image(2, 5, 7, 3)], [image(3, 5, 7, 3)])


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_crops(method: str) -> None:
    def run(x: Any, places: Any, which: Any) -> Any:
        return [
            tf.image.crop_and_resize(x, places, which, size, method, extrapolation_value=-3.0)
            for size in ((4, 5), (1, 1), (1, 3))
        ]

    feeds = []
    for n in (4, 6):
        places = boxes(n, seed=n)
        places[0], places[1], places[2] = [0, 0, 1, 1], [-0.3, 0.2, 0.7, 1.4], [0.9, 0.8, 0.1, 0.2]
        feeds.append([image(2, 9, 7, 3), places, np.arange(n, dtype=np.int32) % 2])
    check(run, *feeds)


@pytest.mark.parametrize("pad", [False, True])
def test_suppression(pad: bool) -> None:
    def run(places: Any, scores: Any) -> Any:
        given: dict[str, Any] = {"boxes": places, "scores": scores, "max_output_size": 7, "iou_threshold": 0.3}
        fifth = {"soft_nms_sigma": 0.0, "pad_to_max_output_size": pad, "score_threshold": 0.2}
        found = RAW.NonMaxSuppressionV4(**given, score_threshold=0.2, pad_to_max_output_size=pad)
        last = RAW.NonMaxSuppressionV5(**given, **fifth)
        return [RAW.NonMaxSuppression(**given), RAW.NonMaxSuppressionV2(**given), *found, *last]

    check(run, *[[boxes(n, seed=n), image(n, seed=n)] for n in (30, 5)])


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_suppression_in_classes(per_class: bool, clip: bool, own: bool) -> None:
    def run(places: Any, scores: Any) -> Any:
        return list(tf.image.combined_non_max_suppression(places, scores, 4, 15, 0.3, 0.2, per_class, clip_boxes=clip))

    feeds = [[boxes(n, 12, 3 if own else 1, seed=n) - 0.1, image(n, 12, 3, seed=n)] for n in (2, 3)]
    check(run, *feeds)
