"""Foreign graphs read into ONNX: the opposite of the lowering."""
