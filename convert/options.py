"""The options that steps take, in one table: what a value must be, and the targets to which it means something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xport.errors import UsageError
from xport.formats import Format


@dataclass(frozen=True)
class StepOption:
    """One option of conversion steps.

    Attributes:
        kind: The type of its value.
        targets: The targets that it means something to.
        means: What it does.
    """

    kind: type
    targets: tuple[Format, ...]
    means: str

    @property
    def flag(self) -> str:
        """What the command line calls the target formats, for messages."""
        return " or ".join(target.value for target in self.targets)


STEP_OPTIONS: dict[str, StepOption] = {
    "opset": StepOption(int, (Format.ONNX,), "the version of ONNX's operators"),
    "optimize": StepOption(bool, (Format.ONNX,), "passes that make the graph smaller"),
    "select_tf_ops": StepOption(bool, (Format.TFLITE,), "operators of TensorFlow itself"),
}
"""By name, as `xport.convert` takes them in ``options`` and a plan takes them directly."""


def check_options(options: Mapping[str, Any], target: Format) -> None:
    """Refuse options that a target has no use for; an option that is not in the table is left to its step.

    Args:
        options: Values by name; None and False ask for nothing.
        target: The format wanted.

    Raises:
        UsageError: Naming the option and the targets that take it.
    """
    for name, value in options.items():
        option = STEP_OPTIONS.get(name)
        if option is None or value is None or value is False or target in option.targets:
            continue
        raise UsageError(
            f"{name} ({option.means}) means nothing to {target.value}.",
            f"Leave it out, or convert --to {option.flag}.",
        )
