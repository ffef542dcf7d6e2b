"""Validation: runners, inputs, parity, latency, the matrix of artifacts, devices and batch sizes, and its reports.

The package is callable: ``xport.validate(reference, other, …)`` is `xport.validate.api.validate`.
"""

from __future__ import annotations

from xport.callable_module import make_callable

make_callable(__name__, "xport.validate.api:validate")
