"""The table of emitters: which function writes which ONNX operator as PyTorch source."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xport.errors import UnsupportedError

if TYPE_CHECKING:
    from xport.convert.writing.node import NodeView

Emitter = Callable[["NodeView"], Any]
"""Takes a node; gives an expression, `Sizes`, another value's entry, or a list of one each output."""

EMITTER_MODULES = (
    "emit_elementwise",
    "emit_activations",
    "emit_layers",
    "emit_pooling",
    "emit_recurrent",
    "emit_shapes",
    "emit_slicing",
    "emit_joining",
    "emit_indexing",
    "emit_reducing",
    "emit_creating",
    "emit_selecting",
    "emit_resizing",
    "emit_control",
    "emit_signal",
)
"""Modules of `xport.convert.writing`, imported when the first operator is looked up."""

_EMITTERS: dict[tuple[str, str], list[tuple[int, Emitter]]] = {}


def emit(*names: str, since: int = 1, domain: str = "") -> Callable[[Emitter], Emitter]:
    """Register a function as the emitter of operators.

    Args:
        *names: ONNX operator names that it writes.
        since: The first opset version that it is right for.
        domain: The operators' domain; empty for the default one.
    """

    def register(function: Emitter) -> Emitter:
        for name in names:
            _EMITTERS.setdefault((domain, name), []).append((since, function))
        return function

    return register


@functools.cache
def load_emitters() -> None:
    """Import every module of emitters, which registers them."""
    for module in EMITTER_MODULES:
        importlib.import_module(f"xport.convert.writing.{module}")


def find(domain: str, name: str, version: int) -> Emitter | None:
    """The emitter of an operator: the newest at or below the version.

    Args:
        domain: The operator's domain; ``ai.onnx`` counts as the default one.
        name: The operator's name.
        version: The opset version that the model imports for the domain.

    Returns:
        The emitter, or None if there is none.
    """
    load_emitters()
    key = ("" if domain == "ai.onnx" else domain, name)
    fitting = [(since, function) for since, function in _EMITTERS.get(key, ()) if since <= version]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def operators() -> list[str]:
    """Names of all operators that can be written, for documentation and tests."""
    load_emitters()
    return sorted(f"{domain}.{name}" if domain else name for domain, name in _EMITTERS)


def refuse(why: str) -> UnsupportedError:
    """An error that says what cannot be written as source; the translator adds operator and node."""
    return UnsupportedError(why)
