"""What each ONNX operator does, written once for every target; `registry.OPERATOR_MODULES` lists the modules."""
