"""What only SavedModels have: several signatures, strings and bytes, examples, and dtypes that JSON cannot carry."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from xport.worker import Worker

_MODEL = """
import tensorflow as tf
S = tf.TensorSpec
features = {"x": tf.io.FixedLenFeature([2], tf.float32), "label": tf.io.FixedLenFeature([], tf.string, "none")}
parse = lambda examples: tf.io.parse_example(examples, features)
module = tf.Module()
module.text = tf.function(
    lambda s: {"upper": tf.strings.upper(s), "raw_bytes": s + b"\\xff"},
    input_signature=[S([None], tf.string, name="s")])
module.classify = tf.function(
    lambda inputs: {"classes": tf.stack([parse(inputs)["label"], tf.fill(tf.shape(inputs), "other")], 1),
                    "scores": parse(inputs)["x"]},
    input_signature=[S([None], tf.string, name="inputs")])
module.regress = tf.function(
    lambda inputs: {"outputs": tf.reduce_sum(parse(inputs)["x"], 1)},
    input_signature=[S([None], tf.string, name="inputs")])
module.half = tf.function(lambda h: {"y": h * 2}, input_signature=[S([None, 2], tf.float16, name="h")])
module.scalar = tf.function(lambda x: {"total": tf.reduce_sum(x), "y": x * 2}, input_signature=[S([None], name="x")])
names = {"serving_default": module.text, "classify": module.classify, "regress": module.regress,
         "half": module.half, "scalar": module.scalar}
tf.saved_model.save(module, folder, signatures=names)
from tensorflow.core.protobuf import saved_model_pb2
from pathlib import Path
file = Path(folder, "saved_model.pb")
model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
for name in ("classify", "regress"):
    model.meta_graphs[0].signature_def[name].method_name = "tensorflow/serving/" + name
file.write_bytes(model.SerializeToString())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory, start_server):
    folder = tmp_path_factory.mktemp("signatures") / "net"
    with Worker() as worker:
        worker.call("builtins:exec", _MODEL, {"folder": str(folder)})
    with start_server(folder, "--no-grpc") as started:
        yield started


def ask(server, action, body):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        connection.request("POST", f"/v1/models/net:{action}", json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


ROW = {"upper": "ABC", "raw_bytes": {"b64": "YWJj/w=="}}
EXAMPLES = [{"x": [1.0, 2.0], "label": "cat"}, {"x": [0.5, -1.5]}]
NOT_B64 = 'JSON Value: {\n    "b65": "YWJj"\n} not formatted correctly for base64 data (input s:string[batch])'
CASES = [
    ("text and bytes", "predict", {"instances": ["abc", {"b64": "YWJj"}]}, 200, {"predictions": [ROW, ROW]}),
    ("bytes in an object", "predict", {"instances": [{"s": {"b64": "YWJj"}}]}, 200, {"predictions": [ROW]}),
    (
        "bytes without padding",
        "predict",
        {"inputs": [{"b64": "YWI"}]},
        200,
        {"outputs": {"upper": ["AB"], "raw_bytes": [{"b64": "YWL/"}]}},
    ),
    (
        "text beyond ASCII",
        "predict",
        {"inputs": ["ä"]},
        200,
        {"outputs": {"upper": ["ä"], "raw_bytes": [{"b64": "w6T/"}]}},
    ),
    (
        "broken base64",
        "predict",
        {"inputs": [{"b64": "?"}]},
        400,
        {"error": "Unable to base64 decode (input s:string[batch])"},
    ),
    (
        "a number for a string",
        "predict",
        {"inputs": [1]},
        400,
        {"error": "JSON Value: 1 Type: Number is not of expected type: string (input s:string[batch])"},
    ),
    ("an object for a string", "predict", {"inputs": [{"b65": "YWJj"}]}, 400, {"error": NOT_B64}),
    (
        "half",
        "predict",
        {"signature_name": "half", "inputs": [[1, 2]]},
        501,
        {"error": "Conversion of JSON Value: 1 to type: half (input h:float16[batch,2])"},
    ),
    (
        "a scalar output in column form",
        "predict",
        {"signature_name": "scalar", "inputs": [1, 2]},
        200,
        {"outputs": {"total": 3.0, "y": [2.0, 4.0]}},
    ),
    (
        "a scalar output in row form",
        "predict",
        {"signature_name": "scalar", "instances": [1, 2]},
        400,
        {"error": "Tensor name: total has no shape information "},
    ),
    (
        "classify",
        "classify",
        {"signature_name": "classify", "examples": EXAMPLES},
        200,
        {"results": [[["cat", 1.0], ["other", 2.0]], [["none", 0.5], ["other", -1.5]]]},
    ),
    (
        "classify with a context",
        "classify",
        {"signature_name": "classify", "context": {"label": "dog"}, "examples": [{"x": [1.0, 2.0]}]},
        200,
        {"results": [[["dog", 1.0], ["other", 2.0]]]},
    ),
    (
        "classify with bytes",
        "classify",
        {"signature_name": "classify", "examples": [{"x": [1.0, 2.0], "label": {"b64": "Y2F0"}}]},
        200,
        {"results": [[["cat", 1.0], ["other", 2.0]]]},
    ),
    ("regress", "regress", {"signature_name": "regress", "examples": EXAMPLES}, 200, {"results": [3.0, -1.0]}),
    (
        "regress on a classify signature",
        "regress",
        {"signature_name": "classify", "examples": EXAMPLES},
        400,
        {
            "error": "Expected regression signature method_name to be "
            "tensorflow/serving/regress. Was: tensorflow/serving/classify"
        },
    ),
    (
        "a whole number in a feature of floats",
        "classify",
        {"signature_name": "classify", "examples": [{"x": [1, 2.5]}]},
        400,
        {"error": "Unexpected element type in feature: x expecting type: int64"},
    ),
]


@pytest.mark.parametrize(("action", "body", "status", "want"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_signature(server, action, body, status, want):
    found = ask(server, action, body)
    if "error" in want:
        assert found == (status, want)
    else:
        assert found[0] == status, found
        assert found[1] == want


def test_a_missing_feature_is_the_requests_fault(server):
    status, data = ask(server, "classify", {"signature_name": "classify", "examples": [{"label": "cat"}]})
    assert status == 400
    assert "Feature: x" in data["error"]


def test_metadata_lists_every_signature(server):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request("GET", "/v1/models/net/metadata")
    data = json.loads(connection.getresponse().read())
    connection.close()
    signatures = data["metadata"]["signature_def"]["signature_def"]
    methods = {name: entry["method_name"] for name, entry in signatures.items()}
    assert methods["classify"] == "tensorflow/serving/classify"
    assert methods["half"] == "tensorflow/serving/predict"
    assert signatures["half"]["inputs"]["h"]["dtype"] == "DT_HALF"
