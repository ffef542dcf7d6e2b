"""Lowering ONNX: one interpreter, one set of operators, a module of primitives for each target."""
