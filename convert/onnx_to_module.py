"""ONNX to PyTorch: an `nn.Module` that runs the graph."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from xport.convert.lowering import model as onnx_model
from xport.convert.lowering.interpreter import Interpreter
from xport.convert.lowering.widen import widen
from xport.convert.primitives.narrow_types import carry
from xport.convert.primitives.torch_core import CARRIED, to_torch
from xport.convert.primitives.torch_target import TorchTarget


class OnnxModule(torch.nn.Module):
    """An ONNX graph as a module: inputs in the graph's order, one output or a tuple.

    Floating-point weights are parameters, others buffers, under names made from the ONNX ones. `torch.export` and
    `torch.jit.trace` see plain PyTorch operations.

    Args:
        model: The model; see `xport.convert.lowering.model.load`.

    Raises:
        UnsupportedError: If PyTorch cannot express an operator.
    """

    def __init__(self, model: ir.Model) -> None:
        super().__init__()
        onnx_model.check_operators(model, "torch")
        self._target = TorchTarget()
        self._interpreter = Interpreter(model, self._target)
        self._interpreter.fold_constants()
        self._attributes: list[tuple[str, int]] = []
        for value, known in self._interpreter.constants.items():
            if (known.const is not None and value.uses()) or value.is_graph_output():
                self._register(value.name or "constant", known.const)

    def _register(self, name: str, array: np.ndarray | None) -> None:
        if array is None or array.dtype == object:
            return
        attribute = re.sub(r"\W", "_", name).strip("_") or "constant"
        if _is_taken(attribute):
            attribute = f"constant_{attribute}"
        while hasattr(self, attribute):
            attribute += "_"
        tensor = to_torch(carry(array, CARRIED))
        if tensor.is_floating_point():
            self.register_parameter(attribute, torch.nn.Parameter(tensor, requires_grad=True))
        else:
            self.register_buffer(attribute, tensor)
        self._attributes.append((attribute, id(array)))

    def forward(self, *inputs: Any) -> Any:
        """Run the graph.

        Args:
            *inputs: Tensors in the order of the graph's inputs.

        Returns:
            The output, or a tuple of outputs in the graph's order.
        """
        self._target.weights = {key: getattr(self, name) for name, key in self._attributes}
        self._target.device = _device(inputs, self._target.weights)
        outputs = self._interpreter.run(inputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _is_taken(name: str) -> bool:
    """Whether ``torch.onnx`` may call a value of its own so, over which it stumbles: ``val_3``, ``scalar_tensor_1``."""
    return re.fullmatch(r"val_\d+", name) is not None or hasattr(torch.ops.aten, re.sub(r"_\d+$", "", name))


def _device(inputs: tuple[Any, ...], weights: dict[int, Any]) -> torch.device:
    tensor = next((x for x in (*inputs, *weights.values()) if isinstance(x, torch.Tensor)), None)
    return torch.device("cpu") if tensor is None else tensor.device


def to_module(path: Path, *, dtype: str = "float32") -> OnnxModule:
    """Open an ONNX file as a PyTorch module.

    Args:
        path: The ``.onnx`` file.
        dtype: ``float64`` for a module that computes in double precision whatever the file has in float32;
            ``float32`` for the file as it is.

    Returns:
        The module, in evaluation mode.

    Raises:
        UnreadableModelError: If the file is no ONNX model.
        UnsupportedError: If PyTorch cannot express an operator.
    """
    model = onnx_model.load(path)
    if dtype == "float64":
        model = widen(model)
    return OnnxModule(onnx_model.infer_shapes(model)).eval()
