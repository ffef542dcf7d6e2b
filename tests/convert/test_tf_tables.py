"""Lookup tables and complex interfaces of SavedModels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import tensorflow as tf

from xport.convert.savedmodel_to_onnx import read
from xport.errors import UnsupportedError
from xport.signature import Signature, TensorSpec


def saved(folder: Path, function: Any, dtype: Any, *tables: Any) -> Path:
    module = tf.Module()
    module.tables = tables
    module.run = tf.function(lambda x: {"y": function(x)}, input_signature=[tf.TensorSpec([None, 3], dtype, name="x")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.run})
    return folder


def table(keys: Any, values: Any, default: Any) -> Any:
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), default)


KEYS: dict[str, tuple[Any, Any, Any, Any]] = {
    "few": ([5, -3, 1138], [2, 7, 9], [[5, 1138, 6], [-3, 0, -4]], np.int64),
    "many": (np.arange(900) * 3 - 7, np.arange(900) % 11, [[-7, 2690, 2691], [0, -8, 2]], np.int64),
    "words": (["a", "bc", ""], [4, 5, 6], [["bc", "a", "b"], ["", "A", "a"]], object),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_table_becomes_part_of_the_graph(name: str, tmp_path: Path) -> None:
    keys, values, given, kind = KEYS[name]
    dtype = tf.string if kind is object else tf.int64
    held = table(tf.constant(keys, dtype), tf.constant(values, tf.int64), -1)
    folder = saved(tmp_path / "model", held.lookup, dtype, held)
    spec = TensorSpec("x", "string" if kind is object else "int64", ("batch", 3))
    model = read(folder, Signature((spec,), (TensorSpec("y", "int64", ("batch", 3)),)))
    x = np.asarray(given, kind)
    found = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_array_equal(found, held.lookup(tf.constant(given, dtype)).numpy())


def test_the_size_of_a_table(tmp_path: Path) -> None:
    held = table(tf.constant([3, 5, 9], tf.int64), tf.constant([1, 2, 3], tf.int64), -1)
    folder = saved(tmp_path / "model", lambda x: x + held.size(), tf.int64, held)
    spec = TensorSpec("x", "int64", ("batch", 3))
    model = read(folder, Signature((spec,), (TensorSpec("y", "int64", ("batch", 3)),)))
    x = np.arange(6).reshape(2, 3)
    found = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_array_equal(found, x + 3)


def test_a_complex_output_is_refused_by_name(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", lambda x: tf.complex(x, x), tf.float32)
    spec = TensorSpec("x", "float32", ("batch", 3))
    with pytest.raises(UnsupportedError, match="y:complex64") as caught:
        read(folder, Signature((spec,), (TensorSpec("y", "complex64", ("batch", 3)),)))
    assert caught.value.fix
