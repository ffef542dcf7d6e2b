"""The table of conversion steps: everything xport can do in one step, in one place.

Adding a pair of formats is a module ``<source>_to_<target>.py`` with a ``convert`` function, and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass

from xport.formats import Format

HUB = Format.ONNX
"""The format that routes without a direct step go through."""

_TORCH = ("torch", "onnxscript")
_SOURCE = ("torch", "onnxscript", "safetensors")
_TENSORFLOW = ("tensorflow",)


@dataclass(frozen=True)
class Step:
    """One conversion from a format to another.

    Attributes:
        source: What it reads.
        target: What it writes.
        module: The module in `xport.convert` whose ``convert`` does it.
        needs: Import names of the packages that it needs.
        cost: Routes with a smaller sum of costs come first; second choices cost more.
        note: What a user should know about it.
        engine: The optional engine that does it, in an environment of its own; empty for everything else.
    """

    source: Format
    target: Format
    module: str
    needs: tuple[str, ...]
    cost: int = 1
    note: str = ""
    engine: str = ""

    @property
    def function(self) -> str:
        """The import path of the function that does it."""
        return f"xport.convert.{self.module}:convert"

    @property
    def names(self) -> tuple[str, ...]:
        """What ``--via`` may call it."""
        return (self.module, self.engine) if self.engine else (self.module,)

    def __str__(self) -> str:
        return f"{self.source.value} → {self.target.value} ({self.module})"


STEPS: tuple[Step, ...] = (
    Step(Format.PYTORCH, Format.ONNX, "torch_to_onnx", _TORCH),
    Step(Format.PYTORCH, Format.ONNX, "torch_to_onnx_legacy", _TORCH, 5, "PyTorch's older exporter"),
    Step(Format.PYTORCH, Format.TORCHSCRIPT, "torch_to_torchscript", ("torch",)),
    Step(Format.PYTORCH, Format.EXPORTED, "torch_to_exported", ("torch",)),
    Step(Format.PYTORCH, Format.PYTORCH, "torch_to_pytorch", _SOURCE, 1, "as source code"),
    Step(Format.EXPORTED, Format.PYTORCH, "torch_to_pytorch", _SOURCE, 1, "as source code"),
    Step(Format.EXPORTED, Format.ONNX, "torch_to_onnx", _TORCH),
    Step(Format.EXPORTED, Format.TORCHSCRIPT, "torch_to_torchscript", ("torch",)),
    # PyTorch's newer exporter refuses scripted modules.
    Step(Format.TORCHSCRIPT, Format.ONNX, "torch_to_onnx_legacy", _TORCH, 1, "PyTorch's older exporter"),
    Step(Format.TORCHSCRIPT, Format.ONNX, "torch_to_onnx", _TORCH, 5),
    Step(Format.TORCHSCRIPT, Format.EXPORTED, "torch_to_exported", ("torch",)),
    Step(Format.SAVEDMODEL, Format.ONNX, "savedmodel_to_onnx", _TENSORFLOW),
    Step(Format.SAVEDMODEL, Format.ONNX, "savedmodel_to_onnx_tf2onnx", ("tensorflow", "tf2onnx"), 5, "tf2onnx"),
    Step(Format.KERAS, Format.ONNX, "keras_to_onnx", _TENSORFLOW),
    Step(Format.KERAS, Format.SAVEDMODEL, "keras_to_savedmodel", _TENSORFLOW),
    Step(Format.TFLITE, Format.ONNX, "tflite_to_onnx", ("ai_edge_litert",)),
    Step(Format.ONNX, Format.ONNX, "onnx_to_onnx", (), 1, "a checked copy"),
    Step(Format.TORCHSCRIPT, Format.TORCHSCRIPT, "copy_as_is", (), 1, "a checked copy"),
    Step(Format.EXPORTED, Format.EXPORTED, "copy_as_is", (), 1, "a checked copy"),
    Step(Format.SAVEDMODEL, Format.SAVEDMODEL, "copy_as_is", (), 1, "a checked copy"),
    Step(Format.TFLITE, Format.TFLITE, "copy_as_is", (), 1, "a checked copy"),
    Step(Format.ONNX, Format.SAVEDMODEL, "onnx_to_savedmodel", _TENSORFLOW),
    Step(Format.ONNX, Format.TFLITE, "onnx_to_tflite", _TENSORFLOW),
    Step(Format.ONNX, Format.TORCHSCRIPT, "onnx_to_torchscript", ("torch",)),
    Step(Format.ONNX, Format.EXPORTED, "onnx_to_exported", ("torch",)),
    Step(Format.ONNX, Format.PYTORCH, "onnx_to_pytorch", ("torch", "safetensors"), 1, "as source code"),
    # Optional engines come after everything of ours; see `xport.convert.planner.plan`.
    Step(Format.ONNX, Format.TFLITE, "onnx_to_tflite_onnx2tf", (), 9, "onnx2tf", "onnx2tf"),
    Step(Format.ONNX, Format.SAVEDMODEL, "onnx_to_savedmodel_onnx2tf", (), 9, "onnx2tf", "onnx2tf"),
    Step(Format.PYTORCH, Format.TFLITE, "torch_to_tflite_litert_torch", ("torch",), 9, "litert-torch", "litert-torch"),
    Step(Format.EXPORTED, Format.TFLITE, "torch_to_tflite_litert_torch", ("torch",), 9, "litert-torch", "litert-torch"),
)
"""Every step, the better one first among those with the same ends."""

RUNTIME_OF = {
    Format.PYTORCH: "torch",
    Format.EXPORTED: "torch",
    Format.TORCHSCRIPT: "torch",
    Format.ONNX: "onnxruntime",
    Format.SAVEDMODEL: "tensorflow",
    Format.KERAS: "tensorflow",
    Format.TFLITE: "ai_edge_litert",
}
"""The package that runs a format: what the gate needs beside the steps."""

DISTRIBUTIONS = {
    "torch": ("torch", "torch"),
    "onnxscript": ("onnxscript", "torch"),
    "safetensors": ("safetensors", "torch"),
    "onnxruntime": ("onnxruntime", "cpu"),
    "tensorflow": ("tensorflow-cpu", "cpu"),
    "tf2onnx": ("tf2onnx", "cpu"),
    "ai_edge_litert": ("ai-edge-litert", "cpu"),
}
"""By import name, the distribution on PyPI and the extra of xport-ml that brings it."""
