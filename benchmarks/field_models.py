"""The models that `field.py` gives to every converter: the zoo, and architectures of the `transformers` package.

A model is named by one word, so that another process can make it again: ``zoo:bert@small``, ``zoo:resnet50@real``,
``transformers:llama``. Weights are seeded and random; nothing is downloaded. Importing this imports no framework.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import xport
from xport import models
from xport.models.spec import InputSpec
from xport.signature import TensorSpec

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES = Path(__file__).parents[1] / "tests" / "architectures"
OLDER = ".opset15.onnx"
"""How the name of a model ends that is kept in an older opset besides."""
ZOO_SIZES = {"batch": 2, "sequence": 64}


@dataclass(frozen=True)
class Subject:
    """One model.

    Attributes:
        word: How another process asks for it.
        name: What tables call it.
        inputs: What it takes, in order.
        sizes: What its symbols are in the examples.
        rows: The symbols that count rows and can be changed: the batch.
        build: Makes the module, in evaluation mode.
    """

    word: str
    name: str
    inputs: tuple[InputSpec, ...]
    sizes: dict[str, int]
    rows: tuple[str, ...]
    build: Callable[[], nn.Module]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the dynamic sizes, in order."""
        return tuple(dict.fromkeys(size for spec in self.inputs for size in spec.shape if isinstance(size, str)))

    def examples(self, batch: int) -> dict[str, np.ndarray]:
        """Seeded inputs of so many rows."""
        rng = np.random.default_rng(batch)
        sizes = self.sizes | dict.fromkeys(self.rows, batch)
        return {spec.name: spec.draw(rng, sizes) for spec in self.inputs}

    def write_onnx(self, path: Path, opset: int | None = None) -> None:
        """Write the one ONNX file that all converters are given; ``torch.onnx`` makes it.

        Args:
            path: The file.
            opset: The version of the operators; that of a conversion by default.

        Raises:
            xport.XportError: If ``torch.onnx`` cannot write the model in this version.
        """
        source = self.word if self.word.startswith("zoo:") else self.build()
        shapes = [f"{spec.name}:{spec.dtype}[{','.join(map(str, spec.shape))}]" for spec in self.inputs]
        asked = {} if isinstance(source, str) else {"inputs": shapes}
        xport.convert(
            source, to="onnx", output=path, verify=False, options={"opset": opset} if opset else None, **asked
        )


def names(family: str) -> list[str]:
    """The names of a set: ``zoo`` or ``transformers``."""
    return list(models.names()) if family == "zoo" else list(_architectures().EVERY)


def subject(word: str) -> Subject:
    """The model that a word names."""
    family, _, rest = word.partition(":")
    return _of_zoo(word, *rest.split("@")) if family == "zoo" else _of_transformers(word, rest)


def _of_zoo(word: str, name: str, size: str) -> Subject:
    model = models.build(name, size="real" if size == "real" else "small")
    return Subject(word, name, model.inputs, dict(ZOO_SIZES), ("batch",), lambda: model.module.eval())


def _of_transformers(word: str, name: str) -> Subject:
    module = _architectures()
    architecture = module.EVERY[name]
    inputs = tuple(_spec(TensorSpec.parse(text), architecture.vocabulary) for text in architecture.inputs)
    rows = tuple(dict.fromkeys(str(spec.shape[0]) for spec in inputs))
    return Subject(word, name, inputs, dict(architecture.sizes), rows, lambda: module.build(name))


def _spec(spec: TensorSpec, vocabulary: int) -> InputSpec:
    mask = "mask" in spec.name
    high = None if spec.dtype.startswith("float") else 2 if mask else vocabulary
    return InputSpec(spec.name, spec.dtype, spec.shape, high=high, mask=mask)


def _architectures():  # type: ignore[no-untyped-def]  # a module of the tests, which is in no package
    if str(ARCHITECTURES) not in sys.path:
        sys.path.insert(0, str(ARCHITECTURES))
    import zoo_transformers

    return zoo_transformers
