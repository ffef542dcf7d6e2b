"""Operators on strings, and LabelEncoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.lowering.registry import Tensor, op, refuse

_LOCALES = {"", "C", "POSIX", "en_US", "en_US.UTF-8", "en-US", "C.UTF-8"}
"""Locales whose letters change case by Unicode's default rules."""


@op("StringConcat", since=20, target="tensorflow")
def string_concat(xp: Any, a: Tensor, b: Tensor) -> Any:
    """Join two broadcasting tensors of strings elementwise."""
    xp.require_strings("StringConcat")
    return xp.string_concat(a, b)


@op("StringSplit", since=20, target="tensorflow")
def string_split(xp: Any, x: Tensor, *, delimiter: str | None = None, maxsplit: int | None = None) -> Any:
    """Split each string at a delimiter, or at runs of white space; also how many parts each has."""
    xp.require_strings("StringSplit")
    return xp.string_split(x, delimiter, maxsplit)


@op("RegexFullMatch", since=20, target="tensorflow")
def regex_full_match(xp: Any, x: Tensor, *, pattern: str) -> Any:
    """Whether each whole string matches an RE2 pattern."""
    xp.require_strings("RegexFullMatch")
    return xp.regex_full_match(x, pattern)


@op("StringNormalizer", since=10, target="tensorflow")
def string_normalizer(
    xp: Any,
    x: Tensor,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str = "en_US",
    stopwords: list[str] | None = None,
) -> Any:
    """Drop stop words from a vector (or a matrix of one row) and change the case of the rest."""
    xp.require_strings("StringNormalizer")
    if case_change_action not in ("NONE", "LOWER", "UPPER"):
        raise refuse(f"case_change_action={case_change_action!r}", "it must be NONE, LOWER or UPPER")
    if (case_change_action != "NONE" or not is_case_sensitive) and locale not in _LOCALES:
        raise refuse(f"locale={locale!r}", "letters change case by Unicode's default rules, not by a locale's own")
    if stopwords:
        words = stopwords if is_case_sensitive else [w.lower() for w in stopwords]
        compared = x if is_case_sensitive else xp.string_case(x, False)
        x = xp.string_select(x, xp.logical_not(xp.string_is_in(compared, words)))
    return x if case_change_action == "NONE" else xp.string_case(x, case_change_action == "UPPER")


@op("LabelEncoder", since=2, domain="ai.onnx.ml")
def label_encoder(
    xp: Any,
    x: Tensor,
    *,
    keys_strings: list[str] | None = None,
    keys_int64s: list[int] | None = None,
    keys_floats: list[float] | None = None,
    keys_tensor: np.ndarray | None = None,
    values_strings: list[str] | None = None,
    values_int64s: list[int] | None = None,
    values_floats: list[float] | None = None,
    values_tensor: np.ndarray | None = None,
    default_string: str = "_Unused",
    default_int64: int = -1,
    default_float: float = -0.0,
    default_tensor: np.ndarray | None = None,
) -> Any:
    """The value that a table has for each element, or a default."""
    keys = _table(keys_strings, keys_int64s, keys_floats, keys_tensor)
    values = _table(values_strings, values_int64s, values_floats, values_tensor)
    if object in (keys.dtype, values.dtype):
        if xp.name != "tensorflow":
            raise refuse("a table of strings", "PyTorch has no such type")
        xp.require_strings("a table of strings")
    defaults = {"O": default_string, "i": default_int64, "f": default_float}
    default = defaults[values.dtype.kind] if default_tensor is None else default_tensor.reshape(-1)[0]
    return xp.lookup(x, keys, values, default)


def _table(
    strings: list[str] | None, integers: list[int] | None, floats: list[float] | None, tensor: np.ndarray | None
) -> np.ndarray:
    if strings is not None:
        return np.array(strings, dtype=object)
    if integers is not None:
        return np.array(integers, dtype=np.int64)
    if floats is not None:
        return np.array(floats, dtype=np.float32)
    if tensor is None:
        raise refuse("LabelEncoder", "it has no table")
    return tensor.reshape(-1)
