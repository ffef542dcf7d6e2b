"""What TF Serving calls dtypes in its texts and in its JSON."""

from __future__ import annotations

from collections.abc import Mapping

from xport.signature import DTYPES

_SHORT = {"float32": "float", "float64": "double", "float16": "half"}
DTYPE_WORDS: Mapping[str, str] = {name: _SHORT.get(name, name) for name in DTYPES}
"""tensorflow::DataTypeString by the signature's name of a dtype."""
DTYPE_ENUMS: Mapping[str, str] = {name: f"DT_{word.upper()}" for name, word in DTYPE_WORDS.items()}
"""The name in ``tensorflow.DataType`` by the signature's name of a dtype."""
