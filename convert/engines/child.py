"""The side of an engine that runs inside its own environment: ``python -I child.py FUNCTION REQUEST.json PARENT``.

Nothing of xport is installed there: this file stands alone, and imports what the environment has.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any


def onnx2tf(request: dict[str, Any]) -> None:
    """ONNX to TFLite (``NAME_float32.tflite`` in ``folder``), or to a SavedModel (in ``folder``).

    Args:
        request: ``source``, ``folder``, ``inputs`` (names; each keeps its shape, where onnx2tf would move channels
            last), ``savedmodel``.
    """
    import onnx2tf

    onnx2tf.convert(
        input_onnx_file_path=request["source"],
        output_folder_path=request["folder"],
        keep_shape_absolutely_input_names=request["inputs"],
        copy_onnx_input_output_names_to_tflite=True,
        output_signaturedefs=True,
        flatbuffer_direct_output_saved_model=request["savedmodel"],
        non_verbose=True,
    )


def litert_torch(request: dict[str, Any]) -> None:
    """An exported program to TFLite.

    Args:
        request: ``source`` (a ``.pt2`` file with example inputs), ``target``, ``shapes`` (of the inputs in order; a
            word is a dynamic size).
    """
    import litert_torch as engine
    import torch

    program = torch.export.load(request["source"])
    if program.example_inputs is None:
        sys.exit("The .pt2 file has no example inputs.")
    positional, named = program.example_inputs
    shapes = request["shapes"]
    dims = {size: torch.export.Dim(size) for shape in shapes for size in shape if isinstance(size, str)}
    dynamic = [{i: dims[size] for i, size in enumerate(shape) if isinstance(size, str)} or None for shape in shapes]
    keywords: dict[str, Any] = {"enable_x64": True}  # 64-bit inputs and outputs stay what they are
    if dims and named:
        sys.exit("Dynamic sizes of inputs that are given by name are not supported here.")
    if dims:
        keywords["dynamic_shapes"] = tuple(dynamic)
    model = engine.convert(program.module(), tuple(positional), dict(named) or None, **keywords)
    model.export(request["target"])


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, args=(int(sys.argv[3]),), daemon=True).start()
    globals()[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
