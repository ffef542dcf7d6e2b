"""Identifiers out of names that a model file gives, which may be any text."""

from __future__ import annotations

import functools
import keyword
import re

_RESERVED = {"self", "torch", "nn", "F", "Path", "Sequence", "json", "Tensor", "load", "read_weights", "min", "max"}
_RESERVED |= {"pad_same", "corners_of", "overlap", "non_max_suppression", "range", "getattr", "super", "int", "float"}


@functools.cache
def _taken() -> frozenset[str]:
    """What a module is by itself and must not be covered by a child."""
    from torch import nn

    return frozenset(dir(nn.Module())) | {"load", "T_destination"}


def identifier(text: str, default: str = "x") -> str:
    """An ASCII identifier as close to a text as possible, never one that means something to Python or the source."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII)[:80].rstrip("_")
    name = re.sub(r"^_+", "", name)
    if not name:
        return default
    if name[0].isdigit():
        name = f"{default}{name}" if name.isdigit() else f"{default}_{name}"
    return f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in _RESERVED else name


def child_name(text: str) -> str:
    """The name of a submodule or a weight: an identifier that `nn.Module` does not use itself, or a number."""
    if text.isascii() and text.isdigit() and len(text) < 6:
        return str(int(text))
    name = identifier(text, "layer")
    return f"{name}_" if name in _taken() else name


def class_name(text: str) -> str:
    """``encoder_layer`` as ``EncoderLayer``; a name that has capitals keeps them."""
    words = [word for word in re.split(r"[^0-9A-Za-z]+", text) if word]
    name = "".join(word[0].upper() + word[1:] for word in words)[:60]
    return identifier(name, "Block") if name and name not in ("None", "True", "False") else "Block"


def singular(text: str) -> str:
    """The name of one of several: ``layers`` has ``layer``."""
    if text.endswith("ies"):
        return text[:-3] + "y"
    return text[:-1] if text.endswith("s") and not text.endswith("ss") else text
