"""Round trips: a model that travels three times round is the same one, and its graph has not grown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import xport

CHAINS = {
    "pytorch": ("onnx", "savedmodel", "onnx", "exported"),
    "savedmodel": ("exported", "savedmodel"),
    "tflite": ("onnx", "tflite"),
}
"""By what a lap begins with, the formats it goes through; it ends with one from which the next can begin."""

ENDINGS = {"onnx": ".onnx", "savedmodel": "", "exported": ".pt2", "tflite": ".tflite"}
LAPS = 3
GROWTH = 1.05

FAST = {("tflite", "mnist_mlp")}
RESIZE = "an exported program has no Resize to run-time sizes that rounds as ONNX does"
LOOP = "torch.export has no recurrent layer of run-time length: it becomes a scan"
NMS = "an exported program has no NonMaxSuppression: it becomes a loop"
GROWS = {
    ("pytorch", "unet"): RESIZE,
    ("savedmodel", "unet"): RESIZE,
    ("tflite", "unet"): "ONNX's Gather counts from the end, which is written out where TFLite computes its indices",
    ("pytorch", "gru_classifier"): LOOP,
    ("savedmodel", "gru_classifier"): LOOP,
    ("tflite", "gru_classifier"): "TFLite's converter finds no built-in operator for a slice of its own making",
    ("pytorch", "detector"): NMS,
    ("savedmodel", "detector"): NMS,
    ("tflite", "detector"): "ONNX's Gather counts from the end, which is written out where TFLite computes its indices",
}
MODELS = ("mnist_mlp", "digits_cnn", "densenet121", "bert", "ncf", "unet", "gru_classifier", "detector")


def _in_onnx(path: Path) -> int:
    def nodes(graph: onnx.GraphProto) -> int:
        inner = [a for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        return len(graph.node) + sum(nodes(a.g) for a in inner)

    return nodes(onnx.load(path, load_external_data=False).graph)


def _in_savedmodel(path: Path) -> int:
    from tensorflow.core.protobuf import saved_model_pb2

    parsed = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    passive = {"Const", "Identity", "NoOp", "Placeholder", "VarHandleOp", "ReadVariableOp", "AssignVariableOp"}
    saving = {"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename", "Pack", "StringJoin", "Select"}
    library = parsed.meta_graphs[0].graph_def.library
    functions = [f for f in library.function if "save" not in f.signature.name and "restore" not in f.signature.name]
    return sum(node.op not in passive | saving for function in functions for node in function.node_def)


def _in_exported(path: Path) -> int:
    import torch

    return sum(node.op == "call_function" for node in torch.export.load(str(path)).graph.nodes)


def _in_tflite(path: Path) -> int:
    from ai_edge_litert.interpreter import Interpreter

    return sum(op["op_name"] != "DELEGATE" for op in Interpreter(str(path))._get_ops_details())


COUNT: dict[str, Callable[[Path], int]] = {
    "onnx": _in_onnx,
    "savedmodel": _in_savedmodel,
    "exported": _in_exported,
    "tflite": _in_tflite,
}


def _cases() -> list[object]:
    cases = []
    for chain in CHAINS:
        for model in MODELS:
            marks = [] if (chain, model) in FAST else [pytest.mark.slow]
            if (chain, model) in GROWS:
                marks.append(
                    pytest.mark.xfail(
                        reason=GROWS[chain, model], strict=True, raises=(AssertionError, xport.XportError)
                    )
                )
            cases.append(pytest.param(chain, model, marks=marks, id=f"{chain}-{model}"))
    return cases


@pytest.mark.parametrize(("chain", "model"), _cases())
def test_three_laps(chain: str, model: str, tmp_path: Path) -> None:
    path: Path | str = f"zoo:{model}@small"
    if chain != "pytorch":
        path = tmp_path / f"start{ENDINGS[chain]}"
        xport.convert(f"zoo:{model}@small", to=chain, output=path)
    start, sizes = path, {} if chain == "pytorch" else {chain: COUNT[chain](Path(path))}
    for lap in range(LAPS):
        seen: dict[str, int] = {}
        for leg, target in enumerate(CHAINS[chain]):
            output = tmp_path / f"{lap}-{leg}{ENDINGS[target]}"
            artifact = xport.convert(path, to=target, output=output)
            assert artifact.proof is not None
            assert artifact.proof.verified
            seen[target] = max(seen.get(target, 0), COUNT[target](output))
            path = output
        for target, count in seen.items():
            assert count <= sizes.get(target, count) * GROWTH, f"lap {lap}: {target} grew {sizes[target]} -> {count}"
        sizes = {**sizes, **seen}
    _same(model, start, path)


def _same(model: str, start: Path | str, end: Path | str) -> None:
    """The interface and, at a batch that no conversion saw, the numbers."""
    from xport import models

    inputs = models.build(model).example_inputs({"batch": 5}, seed=3)
    with xport.load(start) as first, xport.load(end) as last:
        expected, found = first(inputs), last(inputs)
        names = [[spec.name for spec in side.signature.inputs] for side in (first, last)]
    assert names[0] == names[1]
    assert list(expected) == list(found)
    for name, want in expected.items():
        assert found[name].dtype == want.dtype
        np.testing.assert_allclose(found[name], want, rtol=1e-3, atol=1e-4)
