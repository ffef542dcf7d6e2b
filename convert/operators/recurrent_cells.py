"""One step of a recurrent network: the activation functions and the three cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xport.convert.lowering.registry import refuse

Activation = Callable[[Any, Any], Any]
"""Takes the target's primitives and a tensor."""

DEFAULTS: dict[str, tuple[float | None, float | None]] = {
    "affine": (None, None),
    "elu": (1.0, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None),
    "relu": (None, None),
    "scaledtanh": (None, None),
    "sigmoid": (None, None),
    "softplus": (None, None),
    "softsign": (None, None),
    "tanh": (None, None),
    "thresholdedrelu": (None, None),
}
"""The activation functions and the defaults of alpha and beta, which are those of the operators of the same names.

ThresholdedRelu's would be one; ONNX Runtime takes zero.
"""

_TAKES_ALPHA = {"affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu"}
_TAKES_BETA = {"affine", "hardsigmoid", "scaledtanh"}


def activations(names: list[str], alphas: list[float] | None, betas: list[float] | None) -> list[Activation]:
    """The functions that a node names, each taking its alpha and beta from the lists in turn if it has such.

    Args:
        names: Function names, case-insensitive.
        alphas: ``activation_alpha``.
        betas: ``activation_beta``.

    Raises:
        UnsupportedError: If a function is unknown or lacks a parameter.
    """
    left_alphas, left_betas = list(alphas or []), list(betas or [])
    functions = []
    for name in names:
        key = name.lower()
        if key not in DEFAULTS:
            raise refuse(f"activation {name!r}", "the specification names no such function")
        alpha, beta = DEFAULTS[key]
        if key in _TAKES_ALPHA:
            alpha = left_alphas.pop(0) if left_alphas else alpha
            if alpha is None:
                raise refuse(f"activation {name!r} without activation_alpha", "runtimes agree upon no default")
        if key in _TAKES_BETA:
            beta = left_betas.pop(0) if left_betas else beta
            if beta is None:
                raise refuse(f"activation {name!r} without activation_beta", "runtimes agree upon no default")
        functions.append(_activation(key, alpha or 0.0, beta or 0.0))
    return functions


def _activation(name: str, alpha: float, beta: float) -> Activation:
    def apply(xp: Any, x: Any) -> Any:
        def number(value: float) -> Any:
            return xp.scalar(value, x)

        def scaled() -> Any:
            return xp.add(xp.mul(x, number(alpha)), number(beta))

        forms: dict[str, Callable[[], Any]] = {
            "affine": scaled,
            "elu": lambda: xp.where(
                xp.less(x, number(0)),
                xp.mul(xp.sub(xp.exp(xp.minimum(x, number(0))), number(1)), number(alpha)),
                x,
            ),
            "hardsigmoid": lambda: xp.maximum(xp.minimum(scaled(), number(1)), number(0)),
            "leakyrelu": lambda: xp.where(xp.less(x, number(0)), xp.mul(x, number(alpha)), x),
            "relu": lambda: xp.relu(x),
            "scaledtanh": lambda: xp.mul(xp.tanh(xp.mul(x, number(beta))), number(alpha)),
            "sigmoid": lambda: xp.sigmoid(x),
            "softplus": lambda: xp.add(xp.maximum(x, number(0)), xp.log(xp.add(xp.exp(xp.neg(xp.abs(x))), number(1)))),
            "softsign": lambda: xp.divide(x, xp.add(xp.abs(x), number(1))),
            "tanh": lambda: xp.tanh(x),
            "thresholdedrelu": lambda: xp.where(xp.greater(x, number(alpha)), x, xp.mul(x, number(0))),
        }
        return forms[name]()

    return apply


@dataclass(frozen=True)
class Cell:
    """What one direction's step needs besides its tensors.

    Attributes:
        functions: Activation functions: f; f, g; or f, g, h.
        clip: Bound of what goes into them; None for none.
        coupled: LSTM's ``input_forget``: the forget gate is one minus the input gate.
        linear_first: GRU's ``linear_before_reset``.
    """

    functions: list[Activation]
    clip: float | None = None
    coupled: bool = False
    linear_first: bool = False

    def apply(self, xp: Any, which: int, x: Any) -> Any:
        """Clip, then one of the activation functions."""
        return self.functions[which](xp, self.clipped(xp, x))

    def clipped(self, xp: Any, x: Any) -> Any:
        """Limited to [-clip, clip]."""
        if self.clip is None:
            return x
        return xp.minimum(xp.maximum(x, xp.scalar(-self.clip, x)), xp.scalar(self.clip, x))


def rnn_step(xp: Any, cell: Cell, x: Any, states: list[Any], weights: list[Any]) -> list[Any]:
    """``Ht = f(Xt Wt + Ht-1 Rt + b)``; ``x`` is projected and carries both biases."""
    return [cell.apply(xp, 0, xp.add(x, xp.matmul(states[0], weights[0])))]


def gru_step(xp: Any, cell: Cell, x: Any, states: list[Any], weights: list[Any]) -> list[Any]:
    """Update gate z, reset gate r, hidden gate h; ``x`` carries the biases, except Rbh if ``linear_first``."""
    (h,) = states
    size = xp.shape(h)[-1]
    xz, xr, xh = xp.split(x, [size] * 3, -1 % xp.rank(x))
    if cell.linear_first:
        hz, hr, hh = xp.split(xp.matmul(h, weights[0]), [size] * 3, 1)
        z, r = cell.apply(xp, 0, xp.add(xz, hz)), cell.apply(xp, 0, xp.add(xr, hr))
        hidden = xp.add(xh, xp.mul(r, xp.add(hh, weights[1])))
    else:
        hz, hr = xp.split(xp.matmul(h, weights[0]), [size] * 2, 1)
        z, r = cell.apply(xp, 0, xp.add(xz, hz)), cell.apply(xp, 0, xp.add(xr, hr))
        hidden = xp.add(xh, xp.matmul(xp.mul(r, h), weights[1]))
    candidate = cell.apply(xp, 1, hidden)
    return [xp.add(xp.mul(xp.sub(xp.scalar(1, z), z), candidate), xp.mul(z, h))]


def lstm_step(xp: Any, cell: Cell, x: Any, states: list[Any], weights: list[Any]) -> list[Any]:
    """Gates i, o, f, c; peepholes let i and f see the old cell state, o the new one."""
    h, c = states
    size = xp.shape(h)[-1]
    gates = xp.split(xp.add(x, xp.matmul(h, weights[0])), [size] * 4, 1)
    xi, xo, xf, xc = gates
    peepholes = weights[1:]
    i = cell.apply(xp, 0, xp.add(xi, xp.mul(peepholes[0], c)) if peepholes else xi)
    if cell.coupled:
        f = xp.sub(xp.scalar(1, i), i)
    else:
        f = cell.apply(xp, 0, xp.add(xf, xp.mul(peepholes[2], c)) if peepholes else xf)
    after = xp.add(xp.mul(f, c), xp.mul(i, cell.apply(xp, 1, xc)))
    o = cell.apply(xp, 0, xp.add(xo, xp.mul(peepholes[1], after)) if peepholes else xo)
    # ONNX Runtime clips what enters the gates, not the cell state that enters the output's activation.
    return [xp.mul(o, cell.functions[2](xp, after)), after]
