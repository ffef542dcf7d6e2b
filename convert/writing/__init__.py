"""PyTorch source code out of ONNX graphs: a readable `nn.Module` and its weights.

`graph` translates operators to statements (`code`) through the tables of `emit_*`; `blocks` puts statements into
modules by the names that the original's modules had; `classes` makes classes of modules that are alike; `text` writes
them down. `control` are branches and loops among the statements, `compound` their text.
"""
