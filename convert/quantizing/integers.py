"""A source that is quantized already, on its way to TFLite: it stays in integers, with its own scales, if it can."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xport.convert.attempts import Attempts
from xport.convert.outcome import Outcome
from xport.convert.planner import Route
from xport.convert.quantizing.judging import Standard, loss_error, prove_reduced
from xport.convert.routes import HUB, RUNTIME_OF
from xport.convert.source import open_source
from xport.errors import MissingRuntimeError, UsageError, XportError
from xport.formats import Format
from xport.validate.precision import LEAST, precision_of

_INT8 = "xport.convert.quantizing.onnx_to_tflite_int8:convert"
_IS_QUANTIZED = "xport.convert.quantizing.int_graph:is_quantized"
_NAME = "onnx → tflite (in int8)"
_STEP = "onnx_to_tflite"
_SOURCES = (Format.ONNX, Format.EXPORTED)
"""What can hold QuantizeLinear, or what becomes it."""


def keep(attempts: Attempts, routes: Sequence[Route], via: Sequence[str] = ()) -> Outcome | None:
    """Make int8 TFLite of a QDQ source.

    Nothing may be lost: the source is as coarse, and the result has to compute what the source means, up to the
    rounding of integer arithmetic.

    Args:
        attempts: The conversion.
        routes: Those that compute the same in floats.
        via: What the user wants; the step's own name asks for floats.

    Returns:
        The result; None if the source is not quantized, the integers were not wanted, or TFLite cannot express them,
        which `Attempts.tried` tells.
    """
    route = next((r for r in routes if [s.module for s in r.steps][-1] == _STEP), None)
    if route is None or attempts.source.format not in _SOURCES or _STEP in via:
        return None
    try:
        hub = attempts.source.path if len(route.steps) == 1 else attempts.follow(Route(route.steps[:-1]))
        if hub is None or not attempts.workers.call(RUNTIME_OF[HUB], _IS_QUANTIZED, hub):
            return None
        return _made(attempts, route, hub)
    except (UsageError, MissingRuntimeError):
        raise
    except XportError as error:
        attempts.tried.append({"route": _NAME, "error": type(error).__name__, "reason": str(error.message)})
        return None


def _made(attempts: Attempts, route: Route, hub: Path) -> Outcome:
    result = attempts.staging.room("integers") / attempts.staging.destination.name
    attempts.progress(f"{HUB.value} → tflite in int8")
    source = open_source(hub)
    attempts.workers.call("tensorflow", _INT8, source, result, attempts.signature, attempts.options)
    if not attempts.verify:
        return Outcome(route.formats, result, None, None, engines=route.engine_names)
    expectation = attempts.expected(route)
    attempts.progress("proving the int8 tflite")
    standard = Standard(
        precision_of(open_source(result)), LEAST["int8"].sqnr_db, reduces=False, tolerance=attempts.tolerance
    )
    worker = attempts.workers.get(RUNTIME_OF[Format.TFLITE])
    found = prove_reduced(expectation, None, result, Format.TFLITE, standard, attempts.workers, worker)
    if not found.passed:
        raise loss_error(found, "int8")
    return Outcome(route.formats, result, found, expectation, engines=route.engine_names)
