"""Requests of every protocol as bytes, answered by the code that a server runs, with a model that costs nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xport.errors import ServingError
from xport.serve import torchserve_handler
from xport.serve.embedded.card import Endpoint, ModelCard
from xport.serve.embedded.catalogue import Catalogue, Model
from xport.serve.embedded.desk import Desk
from xport.serve.embedded.exchange import Request
from xport.serve.embedded.grpc_services import TfService, V2Service
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.tf_rest import TfRest
from xport.serve.embedded.v2_rest import V2Rest
from xport.serve.embedded.version import State, Version
from xport.serve.protocols import v2_protos, v2_tensors
from xport.serve.tf_serving_protos import serving, to_tensor_proto
from xport.serve.torchserve_tensors import BadRequestError
from xport.signature import Signature, TensorSpec, numpy_dtype

_X = TensorSpec("x", "float32", ("batch", 2))
_Y = TensorSpec("y", "float32", ("batch", 2))
_LABELS = (TensorSpec("classes", "string", ("batch", 2)), TensorSpec("scores", "float32", ("batch", 2)))
_EXAMPLES = (TensorSpec("examples", "string", ("batch",)),)
SIGNATURES = {
    "one": Signature((_X,), (_Y,)),
    "three": Signature((_X, TensorSpec("ids", "int64", None), TensorSpec("s_bytes", "string", None)), (_Y,)),
    "small": Signature(
        (TensorSpec("b", "bool", ("n",)), TensorSpec("h", "float16", ("n",))), (TensorSpec("y", "int8", ("n",)),)
    ),
}
_METHODS = {
    "classes": Endpoint(Signature(_EXAMPLES, _LABELS), "tensorflow/serving/classify"),
    "values": Endpoint(
        Signature(_EXAMPLES, (TensorSpec("outputs", "float32", ("batch",)),)), "tensorflow/serving/regress"
    ),
}
Reader = Callable[[bytes], object]


class _Nothing(Version):
    """A version that answers with zeros and empty texts whatever it takes."""

    async def predict(
        self, inputs: Mapping[str, np.ndarray], signature: str = "", *, timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        self.admit(inputs, signature)
        signed = self.endpoint(signature)[1].signature
        sizes = signed.check(inputs)
        return {spec.name: _nothing(spec, sizes) for spec in signed.outputs}


def _nothing(spec: TensorSpec, sizes: Mapping[str, int]) -> np.ndarray:
    array = np.zeros(spec.bind(sizes), numpy_dtype(spec.dtype))
    if spec.dtype == "string":
        array[...] = b"\xff"  # no text, as answers of models may be
    return array


class _Store(Catalogue[_Nothing]):
    def __init__(self) -> None:
        endpoints = {name: Endpoint(signature) for name, signature in SIGNATURES.items()} | _METHODS
        super().__init__([Model(name, Path(name), False) for name in endpoints], {})
        for name, endpoint in endpoints.items():
            version = self.models[name].servables[1] = _Nothing(name, 1)
            version.state, version.card = State.AVAILABLE, ModelCard("onnx", {"serving_default": endpoint})


class _Body(Request):
    __slots__ = ("data",)

    def __init__(self, path: str, headers: Mapping[str, str], data: bytes) -> None:
        super().__init__("POST", path, headers)
        self.data = data

    async def body(self) -> bytes:
        return self.data


_STORE = _Store()
_DESK = Desk([("/v1/", TfRest(_STORE).handle), ("/v2", V2Rest(_STORE).handle)])
_OPTIONS = ServerOptions(max_body=2**20)
_TF = TfService(_STORE, _OPTIONS).methods()["tensorflow.serving.PredictionService"]  # type: ignore[arg-type]
_V2 = V2Service(_STORE).methods()["inference.GRPCInferenceService"]  # type: ignore[arg-type]


def _end(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits")


def http(path: str) -> Reader:
    """Bodies for a path; what the server calls an internal error is a finding, every other refusal is none."""
    return lambda data: _answered(_Body(path, {}, data))


def http_v2(data: bytes) -> object:
    """The first two bytes say which model is meant and how long the JSON is; 0 stands for no header."""
    if len(data) < 2:
        return None
    model = list(SIGNATURES)[data[0] % len(SIGNATURES)]
    headers = {v2_tensors.LENGTH_HEADER: str(data[1] * 2)} if data[1] else {}
    return _answered(_Body(f"/v2/models/{model}/infer", headers, data[2:]))


def _answered(request: Request) -> object:
    answer = _end(_DESK.answer(request))
    if answer.status == 500:
        raise RuntimeError(answer.body)
    if answer.status != 200:
        raise ServingError(answer.body.decode())
    return answer


class _Call:
    timeout = None

    def note(self, servable: Any) -> None:
        pass


def grpc_tf(data: bytes) -> object:
    """A ``PredictRequest``."""
    return _called(*_TF["Predict"], data)


def grpc_v2(data: bytes) -> object:
    """A ``ModelInferRequest``."""
    return _called(*_V2["ModelInfer"], data)


def _called(message: Any, method: Callable[[Any, Any], Any], data: bytes) -> object:
    from google.protobuf.message import DecodeError

    try:
        request = message.FromString(data)
    except DecodeError:  # gRPC itself refuses it
        return None
    return _end(method(request, _Call())).SerializeToString()


class _Context:
    """What TorchServe lets a handler say."""

    refused = False

    def set_response_status(self, **_: Any) -> None:
        self.refused = True

    def set_response_content_type(self, *_: Any) -> None:
        pass


def torchserve(name: str) -> Reader:
    """Bodies for the handler inside of an archive, each sent twice, so that they are joined."""
    served = object.__new__(torchserve_handler.Served)
    signature = SIGNATURES[name].to_json()
    served.description = {"name": name, "batching": True, "signature": signature}
    served.inputs, served.outputs = signature["inputs"], signature["outputs"]
    served._call = lambda arrays: [np.zeros((len(arrays[0]), 2), np.float32)]

    def read(data: bytes) -> object:
        context = _Context()
        answers = served.answer([{"body": data}, {"data": data}], context)
        if context.refused:
            raise BadRequestError(answers[0])
        return answers

    return read


TF_ONE = (
    b'{"instances":[[1.0,2.0],[3,4]]}',
    b'{"inputs":[[1,2]]}',
    b'{"signature_name":"serving_default","inputs":{"x":[[1,2]]}}',
)
TF_THREE = (
    b'{"instances":[{"x":[1.0,2.0],"ids":3,"s_bytes":{"b64":"AA=="}}]}',
    b'{"inputs":{"x":[[1,2]],"ids":[3],"s_bytes":{"b64":"AA=="}}}',
)
TF_EXAMPLES = (b'{"examples":[{"x":[1.0],"s":"a"},{"x":2.0,"b":{"b64":"AA=="}}],"context":{"c":[1,true]}}',)
TORCHSERVE_THREE = (
    b'{"instances":[{"x":[1.0,2.0],"ids":3,"s_bytes":{"b64":"YQ=="}}]}',
    b'{"inputs":{"x":[[1,2]],"ids":[3],"s_bytes":["a"]}}',
)


def torchserve_one() -> tuple[bytes, ...]:
    """Requests to TorchServe for the model `one`: rows, columns, V2, ``.npz`` and ``.npy``."""
    v2 = b'{"id":"a","inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
    npz, npy = io.BytesIO(), io.BytesIO()
    np.savez(npz, x=np.ones((1, 2), np.float32))
    np.save(npy, np.ones((1, 2), np.float32))
    return *TF_ONE[:2], v2, npz.getvalue(), npy.getvalue()


def grpc_tf_seed(*, raw: bool) -> bytes:
    """A request for the model `three`."""
    request = serving.PredictRequest(output_filter=["y"])
    request.model_spec.name = "three"
    for key, array in _arrays().items():
        request.inputs[key].CopyFrom(to_tensor_proto(array))
    if not raw:
        request.inputs["x"].ClearField("tensor_content")
        request.inputs["x"].float_val.append(1)
    return bytes(request.SerializeToString(deterministic=True))


def grpc_v2_seed(*, raw: bool) -> bytes:
    """A request for the model `three`."""
    request = v2_protos.infer_request("three", "1", _arrays())
    if not raw:
        request.ClearField("raw_input_contents")
        for entry, field in zip(request.inputs, ("fp32_contents", "int64_contents", "bytes_contents"), strict=True):
            values = _arrays()[entry.name].reshape(-1).tolist()
            getattr(entry.contents, field).extend(values)
    return bytes(request.SerializeToString(deterministic=True))


def _arrays() -> dict[str, np.ndarray]:
    return {"x": np.ones((1, 2), np.float32), "ids": np.array([3]), "s_bytes": np.array([b"a"], object)}


def v2_json() -> tuple[bytes, ...]:
    """Requests for all three models: plain, with raw tensors behind, with an output asked for in binary form."""
    plain = {"id": "a", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [[1, 2.5]]}]}
    texts = {"name": "s_bytes", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}
    ids = {"name": "ids", "datatype": "INT64", "shape": [], "data": [3]}
    three = {"inputs": [*plain["inputs"], ids, texts], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}
    small = [{"name": n, "datatype": t, "shape": [2], "parameters": {"binary_data_size": k}} for n, t, k in _SMALL]
    head = json.dumps({"inputs": small}).encode()
    head += b" " * (len(head) % 2)
    bodies = (bytes(2) + json.dumps(plain).encode(), b"\1\0" + json.dumps(three).encode())
    return *bodies, b"\2" + bytes([len(head) // 2]) + head + b"\0\1" + np.ones(2, np.float16).tobytes()


_SMALL = (("b", "BOOL", 2), ("h", "FP16", 4))
