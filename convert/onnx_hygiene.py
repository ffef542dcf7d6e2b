"""What a user asks of an ONNX result beside the conversion: another opset, a smaller graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from xport.convert.lowering import model as onnx_model
from xport.convert.onnx_interface import align_interface, save_model
from xport.convert.onnx_opset import opset_of, to_opset
from xport.errors import ConversionError
from xport.runtimes import require
from xport.signature import Signature


def finish(made: Path, target: Path, signature: Signature, options: dict[str, Any]) -> bool:
    """Bring an ONNX file to the opset and the form that are asked for; the gate proves what comes out.

    Args:
        made: The file that a step wrote.
        target: The file to write.
        signature: The interface that it has to keep.
        options: ``opset`` and ``optimize``.

    Returns:
        False if there was nothing to do, and no file was written.

    Raises:
        UsageError: If there is no such opset.
        ConversionError: If the version converter or the optimizer fails.
        MissingRuntimeError: If ``optimize`` is asked for and onnxscript is not installed.
    """
    model = onnx_model.load(made)
    opset, optimize = options.get("opset"), bool(options.get("optimize"))
    if not optimize and opset in (None, opset_of(model)):
        return False
    if optimize:  # before: the optimizer knows the newer operators better
        model = optimized(model)
    if opset is not None and opset != opset_of(model):
        model = to_opset(model, int(opset))
    align_interface(model, signature)
    save_model(model, target)
    return True


def optimized(model: ir.Model) -> ir.Model:
    """A model with constants folded, batch normalisations merged into convolutions, and what computes nothing gone.

    Args:
        model: The model; changed in place.

    Returns:
        The same model.

    Raises:
        ConversionError: If the optimizer fails.
        MissingRuntimeError: If onnxscript is not installed.
    """
    optimizer, rewriter = require("onnxscript.optimizer"), require("onnxscript.rewriter")
    try:
        model = optimizer.optimize(model)
        model = rewriter.rewrite(model)
        found: ir.Model = optimizer.optimize(model)
    except Exception as error:  # rewrite rules raise whatever their insides raise
        raise ConversionError(
            f"onnxscript's optimizer failed: {type(error).__name__}: {str(error)[:300]}", "Leave --optimize out."
        ) from error
    return found
