"""A folder of PyTorch source out of an ONNX file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from xport.convert.primitives.narrow_types import carry
from xport.convert.primitives.torch_core import CARRIED, to_torch
from xport.convert.writing import inner_shapes, preparing
from xport.convert.writing.blocks import arrange
from xport.convert.writing.classes import Classes
from xport.convert.writing.names import class_name, identifier
from xport.convert.writing.text import source_text
from xport.convert.writing.translator import Program, Translator
from xport.formats import SOURCE_FILE, WEIGHTS_FILE
from xport.signature import Signature, python_names


def write(onnx_file: Path, folder: Path, signature: Signature, *, name: str = "") -> None:
    """Write a model as PyTorch source: ``model.py`` and ``model.safetensors``.

    Args:
        onnx_file: The model in ONNX.
        folder: Where to; it must not exist.
        signature: The model's interface.
        name: What the model's class is called if nothing else tells.

    Raises:
        UnsupportedError: If something cannot be written as source; all such things at once.
    """
    text, weights = write_source(onnx_file, signature, name=name)
    folder.mkdir(parents=True)
    (folder / SOURCE_FILE).write_text(text, encoding="utf-8")
    _save(weights, folder / WEIGHTS_FILE)


def write_source(onnx_file: Path, signature: Signature, *, name: str = "") -> tuple[str, dict[str, np.ndarray]]:
    """The source and the weights by name; see `write`."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 5000))
    model = inner_shapes.infer(preparing.load(onnx_file))
    program = Translator(model, preparing.constants(model)).run()
    program.classes.setdefault((), "")
    root = arrange(program)
    root.kind = _root_name(program.classes[()], name)
    inputs = python_names([spec.name for spec in signature.inputs])
    outputs = _unique([identifier(spec.name, "output") for spec in signature.outputs], inputs)
    classes = Classes(root, program, inputs, outputs)
    return source_text(classes.classes, program.helpers, signature), state_of(program)


def _root_name(recorded: str, name: str) -> str:
    if recorded and recorded not in ("Flat", "FlatModule", "Module"):
        return recorded
    return class_name(name) if name else "Model"


def _unique(names: list[str], taken: list[str]) -> list[str]:
    chosen: list[str] = []
    for name in names:
        while name in chosen or name in taken:
            name += "_"
        chosen.append(name)
    return chosen


def state_of(program: Program) -> dict[str, np.ndarray]:
    """Every weight by its dotted name, in the order of names."""
    state: dict[str, np.ndarray] = {}
    for layer in program.layers.values():
        for name, array in layer.weights.items():
            state[".".join((*layer.path, name))] = array
    for var, weight in program.weights.items():
        state[".".join(var.path or ("weight",))] = weight.array
    return dict(sorted(state.items()))


def _save(state: dict[str, np.ndarray], path: Path) -> None:
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {
        name: to_torch(carry(array, CARRIED)).contiguous().clone() for name, array in state.items()
    }
    save_file(tensors, path)
    path.chmod((path.parent / SOURCE_FILE).stat().st_mode)  # safetensors lets nobody else read it
