"""From a source to a proven artifact of lower precision: float ONNX first, which passes the gate as ever."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xport.convert.attempts import Attempts
from xport.convert.expectation import Expectation, expect_on, find_bounds, torch_family
from xport.convert.gate import GateResult
from xport.convert.outcome import Outcome
from xport.convert.planner import Route, available, plan
from xport.convert.quantizing import calibration as samples
from xport.convert.quantizing.calibration import Calibration
from xport.convert.quantizing.judging import Standard, loss_error, prove_reduced
from xport.convert.quantizing.request import DYNAMIC, INT8, Reduction, check_target, to_json
from xport.convert.quantizing.static import Quantized
from xport.convert.routes import HUB, RUNTIME_OF, STEPS
from xport.convert.source import Source, open_source
from xport.errors import ParityError, UsageError
from xport.formats import Format
from xport.validate.figures import to_json_value
from xport.validate.inputs import Case, batch_symbol, cases
from xport.validate.precision import FLOAT, Precision, precision_of

_MAKE = "xport.convert.quantizing.making:make"
_INT8 = "xport.convert.quantizing.onnx_to_tflite_int8:convert"
_SMALLER = "xport.convert.quantizing.onnx_to_tflite_reduced:convert"

_MARGINS_DB = (0.0, 1.0, 3.0)
"""How far beyond its threshold a search aims: few samples lead it, all held-out ones judge."""
_ROWS, _BYTES = 64, 2**24
"""Seeded rows that tell decisions apart, and the bytes that they may take."""


def prepare(reduction: Reduction, source: Source, target: Format, via: Sequence[str], verify: bool) -> list[Route]:
    """Refuse what cannot be had, and plan the way to float ONNX.

    Args:
        reduction: What is asked for.
        source: The source.
        target: The format wanted.
        via: See `xport.convert.planner.plan`.
        verify: Whether results will be run.

    Returns:
        Routes to float ONNX.

    Raises:
        UsageError: If the source is of lower precision already.
        UnsupportedError: If the format does not hold the precision.
    """
    check_target(reduction, target)
    found = Precision() if torch_family(source.format) else precision_of(source)
    if found.is_reduced:
        raise UsageError(
            f"{source.name} is {found.name} already.", "Start from the model in float32, or convert it as it is."
        )
    return available(plan(source.format, HUB, via=tuple(via)), verify=verify, source=source.format)


def reduce(attempts: Attempts, routes: Sequence[Route], target: Format, reduction: Reduction) -> Outcome:
    """Make and judge a result of lower precision.

    Args:
        attempts: The conversion.
        routes: What `prepare` returned.
        target: The format wanted.
        reduction: What is asked for.

    Returns:
        The result.

    Raises:
        InputsError: If the calibration data does not fit.
        ParityError: If the result loses too much.
        XportError: If it cannot be made.
    """
    data = samples.load(reduction.calibration, attempts.signature) if reduction.kind == INT8 else None
    route, hub, _ = attempts.first_success(routes)
    work = _Work(attempts, route, hub, target, reduction, data)
    failure: ParityError | None = None
    for margin in _MARGINS_DB if reduction.until_db is not None else _MARGINS_DB[:1]:
        result, made = work.make(margin)
        if not made.reached:
            raise failure or work.unreachable(made)
        found = work.judge(result) if attempts.verify else None
        if found is None or found.passed:
            return Outcome(work.formats, result, found, work.fair, work.record(made), route.engine_names)
        attempts.rejected, failure = result, loss_error(found, reduction.precision)
    raise failure or ParityError("No result was made.")


class _Work:
    """One reduction: the float ONNX form, what the source answers, and what is made of them."""

    def __init__(
        self,
        attempts: Attempts,
        route: Route,
        hub: Path,
        target: Format,
        reduction: Reduction,
        data: Calibration | None,
    ) -> None:
        self._attempts, self._route, self._hub = attempts, route, hub
        self._target, self._reduction, self._data = target, reduction, data
        self.fair: Expectation | None = None
        self._seeded: Expectation | None = None

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats along the way."""
        formats = self._route.formats
        return formats if self._target is HUB else (*formats, self._target.value)

    def make(self, margin_db: float) -> tuple[Path, Quantized]:
        """Make the result, with a search that aims so far beyond its threshold."""
        attempts, reduction = self._attempts, self._reduction
        room = attempts.staging.room(f"reduced-{margin_db:g}")
        result = room / attempts.staging.destination.name
        small = result
        if self._target is not HUB:
            small = room / "onnx" / "reduced.onnx"
            small.parent.mkdir()
        if self._target is Format.TFLITE and reduction.kind != INT8:
            self._lower(self._hub, result, _SMALLER, "tensorflow", {"precision": reduction.kind})
            return result, Quantized(0)
        attempts.progress("quantizing" if reduction.precision == "int8" else f"narrowing to {reduction.kind}")
        made: Quantized = attempts.workers.call(
            "onnxruntime", _MAKE, reduction.kind, self._hub, small, reduction.keep_float, **self._options(margin_db)
        )
        if self._target is Format.TFLITE:
            self._lower(small, result, _INT8, "tensorflow", {})
        elif self._target is not HUB:
            step = next(s for s in STEPS if (s.source, s.target) == (HUB, self._target))
            self._lower(small, result, step.function, step.needs[0], {})
        return result, made

    def _options(self, margin_db: float) -> dict[str, Any]:
        if self._data is None:
            return {"stores": self._target is HUB and self._reduction.kind == "bfloat16"}
        until = None if self._reduction.until_db is None else self._reduction.least_db + margin_db
        return {"ranges": self._data.ranges, "held_out": self._data.held_out, "until_db": until}

    def _lower(self, small: Path, result: Path, function: str, framework: str, options: dict[str, Any]) -> None:
        attempts = self._attempts
        attempts.progress(f"onnx → {self._target.value} in {self._reduction.precision}")
        source, given = open_source(small), {**attempts.options, **options}
        attempts.workers.call(framework, function, source, result, attempts.signature, given)

    def judge(self, result: Path) -> GateResult:
        """Judge a result on what the source answers to the inputs that it is made for."""
        attempts = self._attempts
        if self.fair is None:
            self.fair = self._fair()
        attempts.progress(f"judging the {self._reduction.precision} {self._target.value}")
        standard = Standard(self._precision(result), self._reduction.least_db, tolerance=attempts.tolerance)
        worker = attempts.workers.get(RUNTIME_OF[self._target])
        return prove_reduced(self.fair, self._seeded, result, self._target, standard, attempts.workers, worker)

    def _precision(self, result: Path) -> Precision:
        """The result's: as its file tells, or as it was asked for where none does."""
        found = Precision() if torch_family(self._target) else precision_of(open_source(result))
        return found if found.name == self._reduction.precision else Precision(self._reduction.precision, FLOAT)

    def _fair(self) -> Expectation:
        attempts = self._attempts
        source, signature, workers = attempts.source, attempts.signature, attempts.workers
        hub = None if torch_family(source.format) or source.format is HUB else self._hub
        seeded = attempts.expectation
        if self._data is not None:
            drawn = [Case(f"held out {i + 1}", signature.check(b), b) for i, b in enumerate(self._data.held_out)]
            self._seeded = seeded
        else:
            drawn = [*(seeded.cases if seeded is not None else ()), *self._many(hub)]
        return expect_on(source, signature, workers, drawn, hub)

    def _many(self, hub: Path | None) -> list[Case]:
        """Seeded rows enough to tell decisions apart, where the batch is dynamic."""
        attempts = self._attempts
        signature, batch = attempts.signature, batch_symbol(attempts.signature)
        if batch is None or attempts.expectation is None:
            return []
        first = attempts.expectation.cases[0]
        row = sum(array.nbytes for array in first.inputs.values()) // max(first.sizes[batch], 1)
        rows = min(_ROWS, _BYTES // max(row, 1))
        if rows < 2:
            return []
        ranges = find_bounds(attempts.source, signature, attempts.workers, hub)
        return cases(signature, seed=attempts.seed + 1, sizes=[{**first.sizes, batch: rows}], bounds=ranges)

    def unreachable(self, made: Quantized) -> ParityError:
        """The error of a search that found nothing."""
        return ParityError(
            f"No int8 form keeps {self._reduction.least_db:g} dB: {made.before_db:.1f} dB are left with every layer in "
            f"int8, at best {made.after_db:.1f} dB with some of them ({len(made.kept)}) in float.",
            "Lower the threshold, calibrate with more typical data, or use --dtype float16.",
        )

    def record(self, made: Quantized) -> dict[str, Any]:
        """What the proof says about the reduction."""
        said: dict[str, Any] = {**to_json(self._reduction), "float_bytes": _size(self._hub)}
        if self._reduction.kind != DYNAMIC or self._target is HUB:
            said |= {
                "layers": made.layers,
                "kept": list(made.kept),
                "asked": list(made.asked),
                "unfit": list(made.unfit),
            }
        if made.before_db is not None and made.after_db is not None:
            said |= {"before_db": to_json_value(made.before_db), "after_db": to_json_value(made.after_db)}
        if self._data is not None:
            data = self._data
            said["calibration"] = {"samples": data.rows, "held_out": not data.shared, "sha256": data.sha256}
        return said


def _size(model: Path) -> int:
    data = model.with_name(f"{model.name}.data")
    return model.stat().st_size + (data.stat().st_size if data.is_file() else 0)
