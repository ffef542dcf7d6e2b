"""Validation: runners, inputs, parity, latency, the matrix of artifacts, devices and batch sizes, and its reports.

The package is callable: ``xport.validate(reference, other, …)`` is `xport.validate.api.validate`;
``xport.validate.bisect(reference, other, …)`` is `xport.validate.bisection.api.bisect`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xport.callable_module import make_callable

if TYPE_CHECKING:
    from xport.validate.bisection.results import BisectReport

make_callable(__name__, "xport.validate.api:validate")


def bisect(reference: Any, other: Any, **options: Any) -> BisectReport:
    """Find the first value that diverges; see `xport.validate.bisection.api.bisect`, which takes the options."""
    from xport.validate.bisection import api

    return api.bisect(reference, other, **options)
