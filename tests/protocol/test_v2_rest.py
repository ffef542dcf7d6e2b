"""The open inference protocol over HTTP: a table of requests, raw tensors, and the official client."""

import http.client
import json
import struct
from urllib.parse import urlsplit

import numpy as np
import pytest

T = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
A = {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2]]}
N = {"name": "n", "shape": [1], "datatype": "INT64", "data": [3]}
Y = {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [3.0, 8.0, 13.0]}
TOTAL = {"name": "total", "datatype": "FP32", "shape": [1], "data": [6.0]}
HALF = {"name": "half", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.0]}
POSITIVE = {"name": "positive", "datatype": "BOOL", "shape": [1], "data": [True]}
TINY = {"model_name": "tiny", "model_version": "1"}
PAIR = {"model_name": "pair", "model_version": "1"}
INPUTS = "The inputs are x:float32[batch,4]."
X_BYTES = np.array([[1, 2, 3, 4]], "<f4").tobytes()
INFER = "/v2/models/tiny/infer"


def send(server, method, path, body=None, headers=None):
    data = json.dumps(body) if isinstance(body, dict | list) else body
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def infer(**change):
    """A request for ``tiny`` with its one input changed."""
    return {"inputs": [{k: v for k, v in (T | change).items() if v is not None}]}


GOOD = [
    ("flat data", INFER, {"inputs": [T]}, TINY | {"outputs": [Y]}),
    ("nested data", INFER, infer(data=[[1, 2, 3, 4]]), TINY | {"outputs": [Y]}),
    ("an id", INFER, {"id": "a b", "inputs": [T]}, TINY | {"id": "a b", "outputs": [Y]}),
    ("a version", "/v2/models/tiny/versions/1/infer", {"inputs": [T]}, TINY | {"outputs": [Y]}),
    ("inputs in any order", "/v2/models/pair/infer", {"inputs": [N, A]}, PAIR | {"outputs": [TOTAL, HALF, POSITIVE]}),
    (
        "outputs by name and order",
        "/v2/models/pair/infer",
        {"inputs": [A, N], "outputs": [{"name": "positive"}, {"name": "total"}]},
        PAIR | {"outputs": [POSITIVE, TOTAL]},
    ),
    ("no rows", INFER, infer(shape=[0, 4], data=[]), TINY | {"outputs": [Y | {"shape": [0, 3], "data": []}]}),
    (
        "NaN",
        INFER,
        '{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[Infinity,0,0,0]}]}',
        None,
    ),
]
BAD = [
    ("unknown model", "/v2/models/foo/infer", {"inputs": [T]}, 404, "There is no model 'foo' that takes requests."),
    (
        "unknown version",
        "/v2/models/tiny/versions/9/infer",
        {"inputs": [T]},
        404,
        "There is no version 9 of model 'tiny' that takes requests.",
    ),
    (
        "a version that is no number",
        "/v2/models/tiny/versions/a/infer",
        {"inputs": [T]},
        404,
        "There is no version 'a' of 'tiny'.",
    ),
    ("empty body", INFER, "", 400, "JSON Parse error: The document is empty"),
    ("broken JSON", INFER, "{", 400, "JSON Parse error: Invalid value. at offset: 1"),
    ("a list", INFER, [], 400, "The body must be a JSON object."),
    ("no inputs", INFER, {}, 400, "'inputs' must be a list of objects."),
    ("inputs are numbers", INFER, {"inputs": [1]}, 400, "'inputs' must be a list of objects."),
    ("missing input", INFER, {"inputs": []}, 400, "Input 'x' is missing."),
    ("unknown input", INFER, {"inputs": [T, T | {"name": "z"}]}, 400, "Unknown input 'z'. " + INPUTS),
    ("an input twice", INFER, {"inputs": [T, T]}, 400, "Input 'x' is given twice."),
    ("no name", INFER, infer(name=None), 400, "An input has no 'name'."),
    ("no datatype", INFER, infer(datatype=None), 400, "Input 'x' has no 'datatype'."),
    ("no shape", INFER, infer(shape=None), 400, "Input 'x': 'shape' must be a list of whole numbers."),
    ("a shape of texts", INFER, infer(shape=["1", 4]), 400, "Input 'x': 'shape' must be a list of whole numbers."),
    ("a negative size", INFER, infer(shape=[-1, 4]), 400, "Input 'x' has shape [-1, 4], which has a negative size."),
    ("a huge shape", INFER, infer(shape=[2**62, 2**62]), 400, "Input 'x' declares a shape that no request can fill."),
    ("no data", INFER, infer(data=None), 400, "Input 'x' has no 'data'."),
    ("data is a number", INFER, infer(data=1), 400, "Input 'x': 'data' must be a list, got Number."),
    ("too little data", INFER, infer(data=[1]), 400, "Input 'x' has 1 elements, its shape [1, 4] wants 4."),
    ("ragged data", INFER, infer(data=[[1, 2], [3]]), 400, "Input 'x': the lists in 'data' are ragged."),
    ("text for numbers", INFER, infer(data=[1, 2, 3, "4"]), 400, "Input 'x' takes numbers, got String '4'."),
    ("true for a number", INFER, infer(data=[1, 2, 3, True]), 400, "Input 'x' takes numbers, got True True."),
    ("null for a number", INFER, infer(data=[1, 2, 3, None]), 400, "Input 'x' takes numbers, got Null None."),
    (
        "beyond float32",
        INFER,
        infer(data=[1e39, 2, 3, 4]),
        400,
        "Input 'x' has a number that does not fit into float32.",
    ),
    ("another datatype", INFER, infer(datatype="FP64"), 400, "Input 'x' has datatype FP64, expected FP32."),
    ("another shape", INFER, infer(shape=[2, 2]), 400, "Input 'x' has shape [2, 2], expected x:float32[batch,4]."),
    (
        "a decimal for an int",
        "/v2/models/pair/infer",
        {"inputs": [A, N | {"data": [0.5]}]},
        400,
        "Input 'n' takes whole numbers, got Number 0.5.",
    ),
    (
        "beyond int64",
        "/v2/models/pair/infer",
        '{"inputs":[{"name":"n","shape":[1],"datatype":"INT64","data":[9223372036854775808]}]}',
        400,
        "Input 'n': 9223372036854775808 does not fit into int64.",
    ),
    (
        "unknown output",
        INFER,
        {"inputs": [T], "outputs": [{"name": "z"}]},
        400,
        "Unknown output 'z'. The outputs are y.",
    ),
    ("an id of numbers", INFER, {"id": 1, "inputs": [T]}, 400, "'id' must be a string."),
    ("parameters are a list", INFER, infer(parameters=[]), 400, "Input 'x': 'parameters' must be an object."),
    (
        "classification",
        INFER,
        {"inputs": [T], "outputs": [{"name": "y", "parameters": {"classification": 2}}]},
        501,
        "Output 'y': the classification extension is not served.",
    ),
    (
        "raw bytes that do not follow",
        INFER,
        infer(data=None, parameters={"binary_data_size": 16}),
        400,
        "Input 'x' has 16 bytes, 0 follow.",
    ),
]


@pytest.mark.parametrize(("path", "body", "want"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_answers(onnx_server, path, body, want):
    status, data, headers = send(onnx_server, "POST", path, body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    if want is None:
        assert b"Infinity" in data
    else:
        assert json.loads(data) == want


@pytest.mark.parametrize(("path", "body", "status", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_refusals(onnx_server, path, body, status, words):
    found, data, _ = send(onnx_server, "POST", path, body)
    assert (found, json.loads(data)) == (status, {"error": words})


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/tiny/ready", {"name": "tiny", "ready": True}),
        ("/v2/models/tiny/versions/1/ready", {"name": "tiny", "ready": True}),
        (
            "/v2/models/tiny",
            {
                "name": "tiny",
                "versions": ["1"],
                "platform": "onnxruntime_onnx",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
            },
        ),
    ],
)
def test_what_can_be_asked(onnx_server, path, want):
    status, data, _ = send(onnx_server, "GET", path)
    assert (status, json.loads(data)) == (200, want)


def test_server_metadata(onnx_server):
    data = json.loads(send(onnx_server, "GET", "/v2")[1])
    assert data["name"] == "xport"
    assert data["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", INFER, 405),
        ("POST", "/v2/models/tiny", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/foo/ready", 404),
    ],
)
def test_other_methods_and_paths(onnx_server, method, path, status):
    found, data, _ = send(onnx_server, method, path)
    assert (found, list(json.loads(data))) == (status, ["error"])


def raw_request(head, raw):
    text = json.dumps(head).encode()
    return text + raw, {"Inference-Header-Content-Length": str(len(text))}


def test_raw_tensors_both_ways(onnx_server):
    entry = {k: v for k, v in T.items() if k != "data"} | {"parameters": {"binary_data_size": 16}}
    head = {"inputs": [entry], "parameters": {"binary_data_output": True}}
    status, data, headers = send(onnx_server, "POST", INFER, *raw_request(head, X_BYTES))
    size = int(headers["Inference-Header-Content-Length"])
    assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
    assert json.loads(data[:size])["outputs"][0]["parameters"] == {"binary_data_size": 12}
    assert np.frombuffer(data[size:], "<f4").tolist() == [3, 8, 13]


def test_one_output_raw_and_one_not(onnx_server):
    head = {
        "inputs": [A, N],
        "outputs": [{"name": "half", "parameters": {"binary_data": True}}, {"name": "total"}],
    }
    _, data, headers = send(onnx_server, "POST", "/v2/models/pair/infer", *raw_request(head, b""))
    size = int(headers["Inference-Header-Content-Length"])
    assert json.loads(data[:size])["outputs"][1] == TOTAL
    assert np.frombuffer(data[size:], "<f4").tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("size", "raw", "length", "words"),
    [
        (12, X_BYTES, None, "Input 'x' has 12 bytes, float32[1, 4] wants 16."),
        (16, X_BYTES + b"!", None, "1 bytes behind the tensors belong to none."),
        (16, X_BYTES[:4], None, "Input 'x' has 16 bytes, 4 follow."),
        (16, X_BYTES, "99999", "Inference-Header-Content-Length is '99999'"),
        (16, X_BYTES, "-1", "Inference-Header-Content-Length is '-1'"),
        ("16", X_BYTES, None, "must be a number of bytes"),
        (-16, X_BYTES, None, "must be a number of bytes"),
    ],
)
def test_raw_tensors_that_are_refused(onnx_server, size, raw, length, words):
    entry = {k: v for k, v in T.items() if k != "data"} | {"parameters": {"binary_data_size": size}}
    body, headers = raw_request({"inputs": [entry]}, raw)
    headers = {"Inference-Header-Content-Length": length} if length else headers
    status, data, _ = send(onnx_server, "POST", INFER, body, headers)
    assert status == 400
    assert words in json.loads(data)["error"]


def test_strings_have_their_length_in_front():
    from xport.errors import ServingError
    from xport.serve.protocols.v2_tensors import from_bytes, to_bytes
    from xport.signature import TensorSpec

    spec = TensorSpec("s", "string", ("n",))
    data = struct.pack("<I", 2) + b"ab" + struct.pack("<I", 0)
    array = from_bytes(data, spec, [2])
    assert array.tolist() == [b"ab", b""]
    assert to_bytes(array) == data
    for broken in (data[:-1], data + b"x", struct.pack("<I", 2**31) + b"ab"):
        with pytest.raises(ServingError, match="Input 's'"):
            from_bytes(broken, spec, [2])


def test_the_official_client(onnx_server):
    client = pytest.importorskip("tritonclient.http")
    x = np.array([[1, 2, 3, 4], [0.5, 0, -1, 2]], np.float32)
    with client.InferenceServerClient(urlsplit(onnx_server.url).netloc) as server:
        assert server.is_server_live()
        assert server.is_model_ready("tiny", "1")
        assert not server.is_model_ready("foo")
        assert server.get_model_metadata("tiny")["inputs"][0]["shape"] == [-1, 4]
        for binary in (True, False):
            entry = client.InferInput("x", x.shape, "FP32")
            entry.set_data_from_numpy(x, binary_data=binary)
            wanted = client.InferRequestedOutput("y", binary_data=binary)
            for compressed in (None, "gzip", "deflate"):
                result = server.infer("tiny", [entry], outputs=[wanted], request_compression_algorithm=compressed)
                assert result.as_numpy("y").tolist() == [[3, 8, 13], [-3.5, 3, 5]]
        with pytest.raises(Exception, match="There is no model 'foo'"):
            server.infer("foo", [entry])
