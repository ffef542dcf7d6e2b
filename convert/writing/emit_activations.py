"""Activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from xport.convert.writing.code import Code, binary, call, method, named, written
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit
from xport.convert.writing.translator import python_number

_DEFAULTS: dict[str, tuple[str, str, tuple[tuple[str, str, float, float], ...]]] = {
    # operator: function, module, and (attribute, argument, ONNX's default, PyTorch's default)
    "Relu": ("relu", "ReLU", ()),
    "Selu": ("selu", "SELU", ()),
    "LeakyRelu": ("leaky_relu", "LeakyReLU", (("alpha", "negative_slope", 0.01, 0.01),)),
    "Elu": ("elu", "ELU", (("alpha", "alpha", 1.0, 1.0),)),
    "Celu": ("celu", "CELU", (("alpha", "alpha", 1.0, 1.0),)),
    "Softplus": ("softplus", "Softplus", ()),
    "Softsign": ("softsign", "Softsign", ()),
    "HardSwish": ("hardswish", "Hardswish", ()),
    "Mish": ("mish", "Mish", ()),
}
_SELU = {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}


def number(value: float) -> float:
    """An attribute, which is in single precision, as short as that allows."""
    found = python_number(np.asarray(value, np.float32))
    return float(found)


@emit(*_DEFAULTS)
def simple(node: NodeView) -> Code:
    """Activations of `torch.nn.functional`."""
    function, module, attributes = _DEFAULTS[node.kind]
    if node.kind == "Selu" and any(abs(node.attr(k, v) - v) > 1e-6 for k, v in _SELU.items()):
        alpha, gamma = number(node.attr("alpha", _SELU["alpha"])), number(node.attr("gamma", _SELU["gamma"]))
        return binary("*", gamma, call("F.elu", node.x(), alpha))
    given = {name: number(node.attr(attribute, default)) for attribute, name, default, _ in attributes}
    own = {name: own for _, name, _, own in attributes}
    shown = [value for name, value in given.items() if value != own[name]]
    text = ", ".join(written(value) for value in shown)
    return named(call(f"F.{function}", node.x(), *shown), "", f"nn.{module}({text})")


@emit("Gelu")
@emit("Gelu", domain="com.microsoft")
def gelu(node: NodeView) -> Code:
    """The Gaussian error unit, exact or by tanh."""
    if node.attr("approximate", "none") == "tanh":
        return named(call("F.gelu", node.x(), approximate="tanh"), "", 'nn.GELU(approximate="tanh")')
    return named(call("F.gelu", node.x()), "", "nn.GELU()")


@emit("HardSigmoid")
def hard_sigmoid(node: NodeView) -> Code:
    """A line between 0 and 1; PyTorch's has the slope 1/6."""
    alpha, beta = number(node.attr("alpha", 0.2)), number(node.attr("beta", 0.5))
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return named(call("F.hardsigmoid", node.x()), "", "nn.Hardsigmoid()")
    return method(binary("+", binary("*", node.x(), alpha), beta), "clamp", 0, 1)


@emit("Swish", "SiLU")
def swish(node: NodeView) -> Code:
    """``x * sigmoid(alpha x)``."""
    alpha = number(node.attr("alpha", 1.0))
    if alpha == 1.0:
        return named(call("F.silu", node.x()), "", "nn.SiLU()")
    return binary("*", node.x(), call("torch.sigmoid", binary("*", node.x(), alpha)))


@emit("ThresholdedRelu")
def thresholded(node: NodeView) -> Code:
    """``x`` where it is above a threshold, otherwise 0."""
    return call("F.threshold", node.x(), number(node.attr("alpha", 1.0)), 0.0)


@emit("Shrink")
def shrink(node: NodeView) -> Code:
    """Towards zero by ``bias``, zero between the limits."""
    bias, limit = number(node.attr("bias", 0.0)), number(node.attr("lambd", 0.5))
    x = node.x()
    inside = call("torch.zeros_like", x)
    below = call("torch.where", binary("<", x, -limit), binary("+", x, bias), inside)
    return call("torch.where", binary(">", x, limit), binary("-", x, bias), below)


@emit("Softmax", "LogSoftmax")
def softmax(node: NodeView) -> Code:
    """Along an axis; before opset 13 over everything from an axis on."""
    name = "softmax" if node.kind == "Softmax" else "log_softmax"
    rank = len(node.shape() or ())
    axis = node.attr("axis", -1 if node.version >= 13 else 1)
    if node.version < 13 and node.axis(axis) != rank - 1:
        flat = method(node.x(), "flatten", node.axis(axis))
        return method(call(f"F.{name}", flat, dim=-1), "reshape", *[node.size(0, i) for i in range(node.rank())])
    if node.shape() is not None and node.axis(axis) == rank - 1:
        axis = -1
    module = f"nn.{node.kind}(dim={axis})"
    return named(call(f"F.{name}", node.x(), dim=axis), "", module)


@emit("Hardmax")
def hardmax(node: NodeView) -> Any:
    """One at the first largest element along an axis, zero elsewhere."""
    if node.version < 13 and node.axis(node.attr("axis", 1)) != node.rank() - 1:
        from xport.convert.writing.registry import refuse

        raise refuse("several axes at once, as before opset 13")
    axis = node.attr("axis", -1 if node.version >= 13 else 1)
    x = node.x()
    best = method(x, "argmax", dim=axis, keepdim=True)
    return method(call("torch.zeros_like", x), "scatter", axis, best, 1.0)


@emit("PRelu")
def prelu(node: NodeView) -> Code:
    """A slope for each channel, or one that broadcasts."""
    slope = node.weight(1)
    shape = node.shape()
    channels = None if slope is None else slope.size
    per_channel = (
        slope is not None
        and shape is not None
        and len(shape) > 1
        and (channels == 1 or (slope.ndim == len(shape) - 1 and slope.shape[0] == channels))
    )
    if slope is not None and per_channel and channels is not None:
        layer = node.layer("PReLU", [("num_parameters", channels, 1)], {"weight": (1, slope.reshape(-1))}, positional=1)
        return call(layer, node.x())
    x = node.x()
    return call("torch.where", binary("<", x, 0), binary("*", x, node.x(1)), x)
