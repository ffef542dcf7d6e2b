"""What every reference architecture is: a module that describes its own inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from torch import nn

from xport.errors import UsageError
from xport.models.spec import InputSpec

T = TypeVar("T")


class ReferenceModule(nn.Module):
    """A network with its input and output description.

    Attributes:
        inputs: What `forward` takes, in order; set by each constructor.
        outputs: Names of what `forward` gives, in order.
        gains: Factors on the seeded spread of a parameter, by the end of its name (`bn3.weight`). They keep
            activations of order one through the depth of the network, as training would.
    """

    inputs: tuple[InputSpec, ...]
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    gains: ClassVar[Mapping[str, float]] = {}

    def translation_table(self) -> dict[Callable[..., Any], Callable[..., Any]] | None:
        """Translations for operators the ONNX exporter does not know; None where there are none."""
        return None


def by_size(size: str, *, small: T, real: T) -> T:
    """Pick the configuration of a size.

    Args:
        size: `small` or `real`.
        small: What `small` means.
        real: What `real` means.

    Returns:
        One of the two.

    Raises:
        UsageError: The size is neither.
    """
    if size == "small":
        return small
    if size == "real":
        return real
    raise UsageError(f"there is no model size {size!r}", "Choose one of: small, real.")


def image_input(channels: int, side: int) -> tuple[InputSpec, ...]:
    """Describe a batch of square images with the name `image`."""
    return (InputSpec("image", "float32", ("batch", channels, side, side)),)
