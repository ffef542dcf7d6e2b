"""Operators of graphs that TFLite's converter makes integer arithmetic of; see `xport.convert.quantizing.int_graph`."""

from __future__ import annotations

from typing import Any

from xport.convert.lowering import layout
from xport.convert.lowering.registry import Tensor, op

DOMAIN = "xport.quantizing"


@op("Range8", domain=DOMAIN, target="tensorflow", layout=layout.elementwise)
def range8(xp: Any, x: Tensor, *, low: float, high: float) -> Any:
    """Round to one of 256 evenly spaced numbers from ``low`` to ``high``."""
    return xp.fake_quantize(x, low, high)


@op("InFloat", domain=DOMAIN, target="tensorflow", layout=layout.elementwise)
def in_float(xp: Any, x: Tensor) -> Any:
    """The number itself, which a converter cannot take for an int8 one."""
    return xp.in_float(x)
