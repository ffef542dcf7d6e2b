"""New tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from xport.convert.lowering.interpreter import dtype_name
from xport.convert.writing.code import Code, call, method
from xport.convert.writing.node import Filled, NodeView
from xport.convert.writing.registry import emit
from xport.convert.writing.sizes import Sizes
from xport.convert.writing.translator import dtype_code


@emit("ConstantOfShape")
def filled(node: NodeView) -> Any:
    """One number everywhere."""
    value = node.attr("value")
    number = np.zeros(1, np.float32) if value is None else value.numpy()
    sizes = node.sizes(0)
    if number.dtype == np.int64 and len(sizes) == 1 and isinstance(sizes[0], int) and sizes[0] <= 16:
        return Sizes((int(number.reshape(-1)[0]),) * sizes[0])
    return Filled(number, tuple(sizes))


@emit("Range")
def range_(node: NodeView) -> Any:
    """Numbers in steps."""
    start, end, step = (node.operand(i) for i in range(3))
    shown: list[Any] = [end] if start == 0 and step == 1 else [start, end] if step == 1 else [start, end, step]
    shown = [item if isinstance(item, int | float) or _is_size(node, item) else method(item, "item") for item in shown]
    dtype = node.out_dtype() or node.dtype(0) or "int64"
    named = {} if dtype == "int64" else {"dtype": dtype_code(dtype)}
    return Code(call("torch.arange", *shown, **named, device=node.device()).parts, name="positions")


def _is_size(node: NodeView, item: Any) -> bool:
    return any(isinstance(node.entry(i), Sizes) and node.operand(i) == item for i in range(3))


@emit("EyeLike")
def eye_like(node: NodeView) -> Any:
    """Ones on a diagonal."""
    dtype = dtype_name(ir.DataType(node.attr("dtype"))) if node.attr("dtype") else node.dtype() or "float32"
    k = node.attr("k", 0)
    rows, columns = node.size(0, 0), node.size(0, 1)
    device = node.device()
    if k == 0:
        return call("torch.eye", rows, columns, dtype=dtype_code(dtype), device=device)
    ones = call("torch.ones", (rows, columns), dtype=dtype_code(dtype), device=device)
    return method(method(ones, "triu", k), "tril", k)
