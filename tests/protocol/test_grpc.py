"""Both gRPC protocols through their official clients, and what neither client would send."""

import importlib.util

import grpc
import numpy as np
import pytest

from xport.serve.protocols.v2_protos import inference
from xport.serve.tf_serving_protos import serving, to_tensor_proto
from xport.worker import Worker

X = np.array([[1, 2, 3, 4], [0.5, 0, -1, 2]], np.float32)
Y = np.array([[3, 8, 13], [-3.5, 3, 5]], np.float32)
A, N = np.array([[1, 2]], np.float32), np.array([3])
PREDICT = "/tensorflow.serving.PredictionService/Predict"

# In a process of its own: the official package imports TensorFlow.
_OFFICIAL = """
import grpc, numpy as np, tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc)
channel = grpc.insecure_channel(target)
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

def predict(name, inputs, **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    request.model_spec.version_label = spec.get("label", request.model_spec.version_label)
    for key, array in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
    response = stub.Predict(request, timeout=30)
    return {k: tf.make_ndarray(v) for k, v in response.outputs.items()}, response.model_spec.version.value

found["tiny"] = predict("tiny", {"x": x})
found["pair"] = predict("pair", {"a": [[1.0, 2.0]], "n": np.array([3])})[0]
found["splat"] = predict("tiny", {"x": tf.constant(0.5, shape=[2, 4])})[0]["y"]
found["label"] = predict("tiny", {"x": x}, label="stable")[1]
try:
    predict("foo", {"x": x})
except grpc.RpcError as error:
    found["unknown"] = (error.code().name, error.details())
try:
    predict("tiny", {"x": x[:, :2]})
except grpc.RpcError as error:
    found["shape"] = (error.code().name, error.details())
request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
request.model_spec.name = "tiny"
response = stub.GetModelMetadata(request, timeout=30)
signatures = get_model_metadata_pb2.SignatureDefMap()
response.metadata["signature_def"].Unpack(signatures)
definition = signatures.signature_def["serving_default"]
found["metadata"] = (definition.inputs["x"].dtype, [d.size for d in definition.inputs["x"].tensor_shape.dim],
                     list(definition.outputs), definition.method_name)
request = get_model_status_pb2.GetModelStatusRequest()
request.model_spec.name = "tiny"
status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=30).model_version_status[0]
found["status"] = (status.version, get_model_status_pb2.ModelVersionStatus.State.Name(status.state))
"""

_KEEP = "import sys; sys.found = found\n"


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_serving") is None, reason="pip install --no-deps tensorflow-serving-api"
)
def test_the_official_client_of_tf_serving(onnx_server):
    with Worker() as worker:
        worker.call("builtins:exec", _OFFICIAL + _KEEP, {"target": onnx_server.grpc, "x": X, "found": {}})
        found = worker.call("builtins:eval", "__import__('sys').found")
    np.testing.assert_array_equal(found["tiny"][0]["y"], Y)
    assert found["tiny"][1] == 1
    assert found["pair"]["total"].tolist() == [6]
    assert found["pair"]["positive"].tolist() == [True]
    assert found["splat"].shape == (2, 3)
    assert found["label"] == 1
    assert found["unknown"] == ("NOT_FOUND", "Servable not found for request: Latest(foo)")
    assert found["shape"][0] == "INVALID_ARGUMENT"
    assert "Input 'x' has shape [2, 2]" in found["shape"][1]
    assert found["metadata"] == (1, [-1, 4], ["y"], "tensorflow/serving/predict")
    assert found["status"] == (1, "AVAILABLE")


@pytest.fixture
def channel(onnx_server):
    with grpc.insecure_channel(onnx_server.grpc) as channel:
        yield channel


def call(channel, method, request, response):
    return channel.unary_unary(
        method, request_serializer=lambda m: m.SerializeToString(), response_deserializer=response.FromString
    )(request, timeout=30)


def refused(channel, method, request, response):
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, method, request, response)
    return caught.value.code().name, caught.value.details()


def predict_request(**tensors):
    request = serving.PredictRequest()
    request.model_spec.name = "tiny"
    for name, array in tensors.items():
        request.inputs[name].CopyFrom(to_tensor_proto(array))
    return request


def test_values_instead_of_bytes(channel):
    request = predict_request()
    proto = request.inputs["x"]
    proto.dtype = 1
    for size in (2, 4):
        proto.tensor_shape.dim.add(size=size)
    proto.float_val.extend([1, 2])  # the last fills what is left
    response = call(channel, PREDICT, request, serving.PredictResponse)
    y = np.frombuffer(response.outputs["y"].tensor_content, np.float32).reshape(2, 3)
    x = np.array([[1, 2, 2, 2], [2, 2, 2, 2]], np.float32)
    np.testing.assert_array_equal(y, x @ np.array([[1, 2, 0], [0, 1, -1], [2, 0, 1], [-1, 1, 3]], np.float32))


def test_output_filter(channel):
    request = predict_request(x=X)
    request.output_filter.append("nothing")
    code, details = refused(channel, PREDICT, request, serving.PredictResponse)
    assert (code, "nothing" in details) == ("INVALID_ARGUMENT", True)


@pytest.mark.parametrize(
    ("shape", "content", "words"),
    [
        ([2**40, 4], b"", "unknown or too large"),
        ([2**31, 2**33], b"", "unknown or too large"),
        ([-1, 4], b"", "unknown or too large"),
        ([2, 4], b"abc", "has 3 bytes"),
    ],
)
def test_a_tensor_that_is_not_what_it_declares(channel, shape, content, words):
    request = predict_request()
    proto = request.inputs["x"]
    proto.dtype, proto.tensor_content = 1, content
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    code, details = refused(channel, PREDICT, request, serving.PredictResponse)
    assert code == "INVALID_ARGUMENT"
    assert "Input 'x'" in details
    assert words in details


def test_missing_extra_and_wrong_inputs(channel):
    for tensors, words in (
        ({}, "'x' is missing"),
        ({"x": X, "z": X}, "Unknown input 'z'"),
        ({"x": X.astype(np.float64)}, "has dtype float64"),
    ):
        code, details = refused(channel, PREDICT, predict_request(**tensors), serving.PredictResponse)
        assert code == "INVALID_ARGUMENT"
        assert words in details


def test_metadata_fields_are_checked(channel):
    request = serving.GetModelMetadataRequest()
    request.model_spec.name = "tiny"
    method = "/tensorflow.serving.PredictionService/GetModelMetadata"
    assert refused(channel, method, request, serving.GetModelMetadataResponse)[0] == "INVALID_ARGUMENT"
    request.metadata_field.append("foo")
    assert "foo" in refused(channel, method, request, serving.GetModelMetadataResponse)[1]


def test_status_of_an_unknown_model(channel):
    request = serving.GetModelStatusRequest()
    request.model_spec.name = "foo"
    method = "/tensorflow.serving.ModelService/GetModelStatus"
    found = refused(channel, method, request, serving.GetModelStatusResponse)
    assert found == ("NOT_FOUND", "Could not find any versions of model foo")


def test_the_official_client_of_v2(onnx_server):
    client = pytest.importorskip("tritonclient.grpc")
    with client.InferenceServerClient(onnx_server.grpc) as server:
        assert server.is_server_live()
        assert server.is_server_ready()
        assert server.is_model_ready("tiny")
        assert server.is_model_ready("tiny", "1")
        assert not server.is_model_ready("foo")
        metadata = server.get_model_metadata("pair", as_json=True)
        assert metadata["inputs"][1] == {"name": "n", "datatype": "INT64", "shape": ["-1"]}
        a, n = client.InferInput("a", A.shape, "FP32"), client.InferInput("n", N.shape, "INT64")
        a.set_data_from_numpy(A)
        n.set_data_from_numpy(N)
        result = server.infer("pair", [a, n], request_id="7")
        assert result.get_response().id == "7"
        assert result.as_numpy("total").tolist() == [6]
        assert result.as_numpy("positive").tolist() == [True]
        only = server.infer("pair", [a, n], outputs=[client.InferRequestedOutput("half")])
        assert only.as_numpy("half").tolist() == [[0.5, 1]]
        assert only.as_numpy("total") is None
        with pytest.raises(Exception, match="There is no model 'foo'") as caught:
            server.infer("foo", [a, n])
        assert "NOT_FOUND" in str(caught.value)


def test_v2_typed_contents(channel):
    request = inference.ModelInferRequest(model_name="tiny")
    entry = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    entry.contents.fp32_contents.extend([1, 2, 3, 4])
    response = call(channel, "/inference.GRPCInferenceService/ModelInfer", request, inference.ModelInferResponse)
    assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [3, 8, 13]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datatype": "FP64"}, "has datatype FP64"),
        ({"shape": [1, 3]}, "has 4 elements"),
        ({"shape": [2**40, 2**40]}, "no request can fill"),
        ({"shape": [-1, 4]}, "negative size"),
        ({"name": "z"}, "Unknown input 'z'"),
    ],
)
def test_v2_refuses(channel, change, words):
    request = inference.ModelInferRequest(model_name="tiny")
    entry = request.inputs.add(**({"name": "x", "datatype": "FP32", "shape": [1, 4]} | change))
    entry.contents.fp32_contents.extend([1, 2, 3, 4])
    method = "/inference.GRPCInferenceService/ModelInfer"
    code, details = refused(channel, method, request, inference.ModelInferResponse)
    assert code == "INVALID_ARGUMENT"
    assert words in details
