"""`xport::nms` against hand-worked cases and against ONNX NonMaxSuppression in onnxruntime."""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

import xport.models
from xport.models.nms import nms


def options():
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    return settings


def onnx_nms(boxes, scores, limit, iou, score):
    names = ["boxes", "scores", "limit", "iou", "score"]
    kinds = [TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64, TensorProto.FLOAT, TensorProto.FLOAT]
    arrays = [boxes.numpy(), scores.numpy(), np.array([limit]), np.float32([iou]), np.float32([score])]
    values = [
        helper.make_tensor_value_info(name, kind, array.shape)
        for name, kind, array in zip(names, kinds, arrays, strict=True)
    ]
    result = helper.make_tensor_value_info("selected", TensorProto.INT64, [None, 3])
    node = helper.make_node("NonMaxSuppression", names, ["selected"])
    graph = helper.make_graph([node], "nms", values, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options(), providers=providers)
    return session.run(None, dict(zip(names, arrays, strict=True)))[0]


def test_worked_example():
    # Boxes 0 and 1 share 9/11 of their union; box 2 touches nothing; box 3 is box 0 with its corners swapped.
    boxes = torch.tensor([[[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [10, 10, 0, 0]]], dtype=torch.float32)
    scores = torch.tensor([[[0.9, 0.95, 0.5, 0.8], [0.7, 0.1, 0.5, 0.7]]])
    assert nms(boxes, scores, 10, 0.5, 0.0).tolist() == [[0, 0, 1], [0, 0, 2], [0, 1, 0], [0, 1, 2]]
    assert nms(boxes, scores, 10, 0.9, 0.0)[:3].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 2]]
    assert nms(boxes, scores, 1, 0.5, 0.0).tolist() == [[0, 0, 1], [0, 1, 0]]
    assert nms(boxes, scores, 10, 0.5, 0.5).tolist() == [[0, 0, 1], [0, 1, 0]]
    assert nms(boxes, scores, 0, 0.5, 0.0).shape == (0, 3)
    assert nms(boxes, scores, 10, 0.5, 2.0).shape == (0, 3)


def test_thresholds_are_strict():
    # The intersection is 1 and the union 4: exactly one quarter.
    boxes = torch.tensor([[[0.0, 0.0, 2.5, 1.0], [1.5, 0.0, 4.0, 1.0]]])
    scores = torch.tensor([[[0.75, 0.5]]])
    assert len(nms(boxes, scores, 10, 0.25, 0.0)) == 2
    assert len(nms(boxes, scores, 10, 0.2499, 0.0)) == 1
    assert len(nms(boxes, scores, 10, 0.25, 0.5)) == 1


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_onnxruntime(seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(3, 40, 4, generator=generator) * 10
    corners[:, ::9, 2:] = corners[:, ::9, :2]  # empty boxes
    corners[:, 1::7] = corners[:, :1]  # equal boxes
    scores = torch.rand(3, 4, 40, generator=generator)
    scores[:, :, 3::5] = 0.625  # equal scores
    for limit, iou, score in [
        (100, 0.3, 0.1),
        (3, 0.5, 0.625),
        (100, 0.0, 0.0),
        (100, 1.0, 0.5),
        (0, 0.5, 0.0),
    ]:
        ours = nms(corners, scores, limit, iou, score).numpy()
        np.testing.assert_array_equal(ours, onnx_nms(corners, scores, limit, iou, score))


def test_operator_is_well_formed():
    boxes, scores = torch.rand(2, 8, 4), torch.rand(2, 3, 8)
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(nms, (boxes, scores, 5, 0.5, 0.2), test_utils=tests)


def test_detector_exports_to_onnx_non_max_suppression(tmp_path):
    model = xport.models.build("detector")
    example = {name: torch.from_numpy(array) for name, array in model.example_inputs().items()}
    path = tmp_path / "detector.onnx"
    torch.onnx.export(
        model.module,
        kwargs=example,
        f=path,
        dynamo=True,
        verbose=False,
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        custom_translation_table=model.custom_translation_table,
        output_names=list(model.outputs),
    )
    assert "NonMaxSuppression" in {node.op_type for node in onnx.load(path).graph.node}
    session = onnxruntime.InferenceSession(path, options(), providers=["CPUExecutionProvider"])
    for batch in (1, 4):
        inputs = model.example_inputs({"batch": batch}, seed=batch)
        with torch.no_grad():
            detections, boxes, scores = model.module(torch.from_numpy(inputs["image"]))
        found = dict(zip(model.outputs, session.run(list(model.outputs), inputs), strict=True))
        assert len(detections) > 0
        np.testing.assert_array_equal(found["detections"], detections.numpy())
        np.testing.assert_allclose(found["boxes"], boxes.numpy(), atol=1e-5)
        np.testing.assert_allclose(found["scores"], scores.numpy(), atol=1e-5)
