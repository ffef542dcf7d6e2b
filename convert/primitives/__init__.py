"""The targets' primitives: one class for TensorFlow, one for PyTorch, made of one mixin an operator family."""
