"""What a reference model takes and gives, described without importing torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xport.models.base import ReferenceModule

Size = Literal["small", "real"]

DEFAULT_SIZES: Mapping[str, int] = {
    "batch": 2,
    "sequence": 7,
    "source": 7,
    "target": 5,
    "height": 32,
    "width": 48,
}
"""What a symbolic dimension is where `example_inputs` is not told; different wherever a model has two."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a reference model.

    Attributes:
        name: The name of the `forward` argument.
        dtype: A numpy name, `float32` or `int64`.
        shape: Fixed extents as integers, dynamic ones as the name of their symbol.
        high: Integers are drawn in `[0, high)`; None for floating-point inputs.
        mask: The input is a 0/1 mask over its last axis and every row needs at least one 1.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    high: int | None = None
    mask: bool = False

    def resolve(self, sizes: Mapping[str, int] | None = None) -> tuple[int, ...]:
        """Replace each symbol of the shape from `sizes`, or from `DEFAULT_SIZES` where it is not there."""
        known = {**DEFAULT_SIZES, **(sizes or {})}
        return tuple(known[extent] if isinstance(extent, str) else extent for extent in self.shape)

    def draw(self, rng: np.random.Generator, sizes: Mapping[str, int] | None = None) -> NDArray[Any]:
        """Draw one array: standard normal for floats, uniform below `high` for integers."""
        shape = self.resolve(sizes)
        if self.high is None:
            return rng.standard_normal(shape, dtype=np.float32).astype(self.dtype, copy=False)
        values = rng.integers(0, self.high, size=shape, dtype=self.dtype)
        if self.mask:
            values[..., 0] = 1
        return values


@dataclass(frozen=True)
class ZooModel:
    """A reference model, ready to run or export.

    Attributes:
        name: Its name in the table.
        size: `small` or `real`.
        module: The network, in eval mode; `forward` takes the inputs by name, in order.
        inputs: What it takes, in order.
        outputs: Names of what it gives: one tensor for one name, otherwise a tuple in this order.
    """

    name: str
    size: Size
    module: ReferenceModule
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the dynamic dimensions, in order of first appearance."""
        found = [extent for spec in self.inputs for extent in spec.shape if isinstance(extent, str)]
        return tuple(dict.fromkeys(found))

    @property
    def custom_translation_table(self) -> dict[Callable[..., Any], Callable[..., Any]] | None:
        """The argument of that name of `torch.onnx.export`; None where stock operators are enough.

        Reading it imports onnxscript when the model does need one.
        """
        return self.module.translation_table()

    def example_inputs(self, sizes: Mapping[str, int] | None = None, seed: int = 0) -> dict[str, NDArray[Any]]:
        """Draw seeded inputs.

        Args:
            sizes: Values for symbolic dimensions; those absent take `DEFAULT_SIZES`, those the model has not
                are ignored, so one mapping serves every model.
            seed: Seed of the numpy generator.

        Returns:
            One array per input, in order.
        """
        rng = np.random.default_rng(seed)
        return {spec.name: spec.draw(rng, sizes) for spec in self.inputs}
