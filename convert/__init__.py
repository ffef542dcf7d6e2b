"""Conversion: sources, routes, one step per pair of formats, the gate.

The package is callable: ``xport.convert(source, to="onnx")`` is `xport.convert.api.convert`.
"""

from __future__ import annotations

from xport.callable_module import make_callable

make_callable(__name__, "xport.convert.api:convert")
