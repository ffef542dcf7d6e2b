"""Models of the zoo with planted faults, in every format, made and run in workers that stay open.

A fault is planted in the model's ONNX form; SavedModel and TFLite are converted from the faulty file, unproven.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx
from planted import FAULTS, Fault, planted

from xport.convert.api import read_signature
from xport.convert.expectation import Expectation, expect
from xport.convert.gate import as_source
from xport.convert.routes import RUNTIME_OF, STEPS
from xport.convert.source import Source, open_source
from xport.convert.workers import Workers
from xport.errors import ConversionError, XportError
from xport.formats import Format
from xport.signature import Signature
from xport.validate.bisection import sides
from xport.validate.bisection.results import BisectReport
from xport.validate.bisection.run import Question, compare
from xport.validate.bisection.trunk import Trunk
from xport.validate.matrix.matching import Matching
from xport.validate.matrix.sets import InputSet
from xport.validate.matrix.subjects import Subject
from xport.validate.parity import judge
from xport.validate.runners import open_runner
from xport.validate.verdicts import OutputVerdict

Tensors = dict[str, np.ndarray]


@dataclass
class Workshop:
    """One zoo model with all that is made of it.

    Attributes:
        model: Its name.
        folder: Where files go.
        workers: The processes.
    """

    model: str
    folder: Path
    workers: Workers = field(default_factory=Workers)

    def __post_init__(self) -> None:
        self.source: Source = open_source(f"zoo:{self.model}@small")
        self.signature: Signature = read_signature(self.source, self.workers)
        self.expectation: Expectation = expect(self.source, self.signature, self.workers)
        self.onnx = self.folder / f"{self.model}.onnx"
        self.convert(self.source, Format.ONNX, self.onnx)
        self.proto = onnx.load(self.onnx)

    def convert(self, source: Source, target: Format, path: Path) -> Path:
        """Convert by the first step of the table that works, in its worker; the best come first."""
        steps = sorted((s for s in STEPS if s.source is source.format and s.target is target), key=lambda s: s.cost)
        for step in steps:
            framework = step.needs[0] if step.needs else "onnxruntime"
            try:
                self.workers.call(framework, step.function, source, path, self.signature, {})
                return path
            except XportError:
                if step is steps[-1]:
                    raise
        raise ConversionError(f"No step leads from {source.format.value} to {target.value}.")

    def faulty(self, fault: Fault) -> tuple[Path, str] | None:
        """The ONNX file with a fault, and the node at fault; None if the fault does not apply."""
        made = planted(self.proto, fault)
        if made is None:
            return None
        path = self.folder / f"{self.model}.{FAULTS.index(fault)}.onnx"
        onnx.save(made[0], path)
        return path, made[1]

    def made_from(self, path: Path, target: Format) -> Path:
        """An ONNX file in another format."""
        if target is Format.ONNX:
            return path
        return self.convert(open_source(path), target, path.with_name(f"{path.stem}.{target.value}{target.suffix}"))

    def run(self, path: Path, target: Format) -> list[Tensors]:
        """What an artifact answers to the cases of the gate."""
        worker = self.workers.get(RUNTIME_OF[target])
        with open_runner(as_source(path, target, self.signature), worker=worker) as runner:
            return [runner.run(case.inputs) for case in self.expectation.cases]

    def judge(self, outputs: list[Tensors]) -> list[OutputVerdict]:
        """The verdict by the rounding floor, as the gate and `xport validate` give it."""
        expected = self.expectation
        return judge(
            expected.outputs,
            outputs,
            expected.reference or None,
            names=[case.name for case in expected.cases],
            no_reference=expected.no_reference,
        )

    def bisect(self, path: Path, target: Format, *, reference: Format = Format.PYTORCH) -> BisectReport:
        """Bisect an artifact against the zoo's PyTorch module, or against the faithful ONNX file."""
        home = self.source if reference is Format.PYTORCH else open_source(self.onnx)
        there = as_source(path, target, self.signature)
        expected = self.expectation.outputs
        if reference is not Format.PYTORCH:
            expected = tuple(self.run(self.onnx, reference))
        outputs = self.run(path, target)
        case = self.expectation.cases[0]
        inputs = {spec.name: spec.name for spec in self.signature.inputs}
        names = Matching(inputs, {spec.name: spec.name for spec in self.signature.outputs})
        wide = self.expectation.reference
        answered = sides.Answered(
            self.signature, names, InputSet(case, None), expected[0], outputs[0], wide[0] if wide else None, "",
            tuple(self.judge(outputs)),
        )  # fmt: skip
        subjects = [Subject(home.name, home, None, ""), Subject(path.name, there, None, "")]
        other = path
        if target is not Format.ONNX:
            other = self.convert(there, Format.ONNX, path.with_name(f"{path.name}.form.onnx"))
        trunks = [Trunk.open(self.onnx), Trunk.open(other)]
        return compare(subjects, Question(), answered, trunks, self.workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.workers.__exit__(kind, error, trace)
