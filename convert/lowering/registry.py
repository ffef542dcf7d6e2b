"""The table of operators: what handles an ONNX node, for which opset, for which target.

An operator is one function. Its positional parameters are the node's inputs, its keyword-only parameters the node's
attributes with the specification's defaults, and annotations say in what form an input is wanted::

    @op("Softmax", since=13, layout=layout.along_axis)
    def softmax(xp: Target, x: Tensor, *, axis: int = -1) -> Any: ...

`Tensor` is the target's tensor, `Static` a numpy array that must be known while converting, `Sizes` a list of sizes
each of which is a number or a run-time scalar, `Weight` a numpy array if known and a tensor if not. A parameter named
``context`` receives the `Context` of the call.
"""

from __future__ import annotations

import enum
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from xport.errors import UnsupportedError


class Role(enum.Enum):
    """In what form a handler wants an input."""

    TENSOR = "tensor"
    STATIC = "static"
    SIZES = "sizes"
    WEIGHT = "weight"
    VALUE = "value"


Tensor = Annotated[Any, Role.TENSOR]
Static = Annotated[np.ndarray, Role.STATIC]
Sizes = Annotated[list[Any], Role.SIZES]
Weight = Annotated[Any, Role.WEIGHT]
RawValue = Annotated[Any, Role.VALUE]

Policy = Callable[[Any], None]
"""A layout policy: chooses the storage order of a call's inputs; see `xport.convert.lowering.layout`."""


@dataclass(frozen=True)
class Parameter:
    """One positional parameter of a handler."""

    name: str
    role: Role
    optional: bool
    variadic: bool


@dataclass(frozen=True)
class Handler:
    """One function that lowers one operator.

    Attributes:
        name: The operator's ONNX name.
        domain: Its domain; empty for the default one.
        since: The first opset version it is right for.
        until: The last one, or None.
        target: ``tensorflow``, ``torch``, or None for every target.
        layout: How storage orders pass through it; None wants logical order.
        function: The function itself.
        parameters: Its inputs.
        attributes: Its attributes and their defaults (`inspect.Parameter.empty` if required).
        wants_context: Whether it takes the call's context.
    """

    name: str
    domain: str
    since: int
    until: int | None
    target: str | None
    layout: Policy | None
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    attributes: dict[str, Any]
    wants_context: bool


_HANDLERS: dict[tuple[str, str], list[Handler]] = {}

OPERATOR_MODULES = (
    "arithmetic",
    "activations",
    "casts",
    "shapes",
    "linear",
    "spatial",
    "blocks",
    "deformable",
    "regions",
    "losses",
    "softmax",
    "resampling",
    "pooling",
    "normalization",
    "reduction",
    "indexing",
    "padding",
    "scatter",
    "creation",
    "cumulative",
    "einsum",
    "selection",
    "recurrent",
    "control_flow",
    "quantization",
    "quantized_linear",
    "quantized_contrib",
    "strings",
    "sequences",
    "attention",
    "signal",
    "contrib",
    "contrib_attention",
    "classical",
    "training",
    "random",
    "ranges",
)
"""Modules of `xport.convert.operators`, imported when the first operator is looked up."""


def op(
    *names: str,
    since: int = 1,
    until: int | None = None,
    domain: str = "",
    target: str | None = None,
    layout: Policy | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the handler of operators.

    Args:
        *names: ONNX operator names that it handles alike.
        since: The first opset version that it is right for; the newest one at or below a node's version applies.
        until: The last one it is right for; later nodes fall to a newer handler or are refused.
        domain: The operator's domain; empty for the default one.
        target: ``tensorflow`` or ``torch`` if it is for one of them; such a handler is preferred.
        layout: The layout policy; None wants every input in logical order.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters, attributes, wants_context = _describe(function)
        for name in names:
            handler = Handler(
                name, domain, since, until, target, layout, function, parameters, attributes, wants_context
            )
            _HANDLERS.setdefault((domain, name), []).append(handler)
        return function

    return register


def _describe(function: Callable[..., Any]) -> tuple[tuple[Parameter, ...], dict[str, Any], bool]:
    hints = typing.get_type_hints(function, include_extras=True)
    parameters: list[Parameter] = []
    attributes: dict[str, Any] = {}
    wants_context = False
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if position == 0:
            continue  # the target's primitives
        if parameter.name == "context":
            wants_context = True
        elif parameter.kind is parameter.KEYWORD_ONLY:
            attributes[parameter.name] = parameter.default
        else:
            variadic = parameter.kind is parameter.VAR_POSITIONAL
            optional = parameter.default is not parameter.empty
            role = _role(hints.get(parameter.name))
            if role is None:
                raise TypeError(f"{function.__name__}: parameter {parameter.name} has no role annotation")
            parameters.append(Parameter(parameter.name, role, optional, variadic))
    return tuple(parameters), attributes, wants_context


def _role(hint: Any) -> Role | None:
    if typing.get_origin(hint) is Annotated:
        return next((m for m in hint.__metadata__ if isinstance(m, Role)), None)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next((role for arg in typing.get_args(hint) if (role := _role(arg))), None)
    return None


@functools.cache
def load_operators() -> None:
    """Import every operator module, which registers its handlers."""
    for module in OPERATOR_MODULES:
        importlib.import_module(f"xport.convert.operators.{module}")


@functools.cache
def find(domain: str, name: str, version: int, target: str) -> Handler | None:
    """The handler for an operator: the newest at or below the version, the target's own before a shared one.

    Args:
        domain: The operator's domain; ``ai.onnx`` counts as the default one.
        name: The operator's name.
        version: The opset version that the model imports for the domain.
        target: ``tensorflow`` or ``torch``.

    Returns:
        The handler, or None if there is none.
    """
    load_operators()
    domain = "" if domain == "ai.onnx" else domain
    fitting = [
        h
        for h in _HANDLERS.get((domain, name), ())
        if h.since <= version and (h.until is None or version <= h.until) and h.target in (None, target)
    ]
    return max(fitting, key=lambda h: (h.since, h.target is not None), default=None)


def registered() -> Sequence[Handler]:
    """Every handler, for documentation and tests."""
    load_operators()
    return [handler for handlers in _HANDLERS.values() for handler in handlers]


def refuse(what: str, why: str) -> UnsupportedError:
    """An error that says what cannot be expressed and why; the interpreter adds node and target."""
    return UnsupportedError(f"{what}: {why}")
