"""The gRPC services on the embedded server, each a table of methods.

Sources: tensorflow_serving/apis/{prediction_service,model_service}.proto,
tensorflow_serving/servables/tensorflow/get_model_metadata_impl.cc and open_inference_grpc.proto of
https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from xport import __version__
from xport.errors import InputsError, ServingError
from xport.serve.embedded import v2_rest
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.servable import Servable
from xport.serve.embedded.store import Store
from xport.serve.embedded.version import State
from xport.serve.protocols import v2_protos
from xport.serve.protocols.status import GRPC_NUMBERS
from xport.serve.protocols.v2_protos import inference
from xport.serve.tf_serving_protos import from_tensor_proto, serving, to_tensor_proto
from xport.signature import TensorSpec
from xport.tf_protos import DATA_TYPES

Methods = Mapping[str, Mapping[str, tuple[Any, Callable[[Any, Any], Any]]]]
_UNKNOWN = 2  # google/rpc/code.proto
_SIGNATURES = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


class TfService:
    """``tensorflow.serving.PredictionService`` and ``ModelService``.

    Args:
        store: The models.
        options: How the server behaves.
    """

    def __init__(self, store: Store, options: ServerOptions) -> None:
        self._store, self._options = store, options

    def methods(self) -> Methods:
        """By service and method: the request's class and who answers it."""
        return {
            "tensorflow.serving.PredictionService": {
                "Predict": (serving.PredictRequest, self._predict),
                "GetModelMetadata": (serving.GetModelMetadataRequest, self._metadata),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": (serving.GetModelStatusRequest, self._status),
            },
        }

    async def _predict(self, request: Any, call: Any) -> Any:
        servable = self._find(request.model_spec)
        call.note(servable)
        name, endpoint = servable.endpoint(request.model_spec.signature_name)
        inputs = {}
        for key, proto in request.inputs.items():
            try:
                inputs[key] = from_tensor_proto(proto, limit=self._options.max_body)
            except InputsError as error:
                raise ServingError(f"Input {key!r}: {error.message}") from error
        known = [spec.name for spec in endpoint.signature.outputs]
        unknown = [wanted for wanted in request.output_filter if wanted not in known]
        if unknown:
            raise ServingError(
                f"output tensor alias not found in signature: {unknown[0]} "
                f"Outputs expected to be in the set {{{','.join(sorted(known))}}}."
            )
        outputs = await servable.predict(inputs, name, timeout=call.timeout)
        response = serving.PredictResponse()
        response.model_spec.CopyFrom(_spec(servable, name))
        for key in request.output_filter or known:
            response.outputs[key].CopyFrom(to_tensor_proto(outputs[key]))
        return response

    async def _metadata(self, request: Any, call: Any) -> Any:
        fields = list(request.metadata_field)
        if not fields:
            raise ServingError("GetModelMetadataRequest must specify at least one metadata_field")
        for field in fields:
            if field != "signature_def":
                raise ServingError(f"Metadata field {field} is not supported")
        servable = self._find(request.model_spec)
        call.note(servable)
        signatures = serving.SignatureDefMap()
        for name, endpoint in (servable.card.endpoints if servable.card else {}).items():
            definition = signatures.signature_def[name]
            definition.method_name = endpoint.method
            _fill(definition.inputs, endpoint.signature.inputs)
            _fill(definition.outputs, endpoint.signature.outputs)
        response = serving.GetModelMetadataResponse()
        response.model_spec.CopyFrom(_spec(servable, ""))
        response.metadata["signature_def"].type_url = _SIGNATURES
        response.metadata["signature_def"].value = signatures.SerializeToString(deterministic=True)
        return response

    async def _status(self, request: Any, call: Any) -> Any:
        name, version, label = _which(request.model_spec)
        response = serving.GetModelStatusResponse()
        for servable in self._store.versions(name, version, label):
            row = response.model_version_status.add(version=servable.version, state=servable.state.value)
            failed = servable.state is State.END and servable.error is not None
            row.status.error_code = _UNKNOWN if failed else GRPC_NUMBERS["OK"]
            row.status.error_message = str(servable.error) if failed else ""
        return response

    def _find(self, spec: Any) -> Servable:
        return self._store.find(*_which(spec))


def _which(spec: Any) -> tuple[str, int | None, str]:
    """Name, version and label of a ``ModelSpec``."""
    if not spec.name:
        raise ServingError("Missing ModelSpec name")
    return spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label


def _spec(servable: Servable, signature: str) -> Any:
    spec = serving.ModelSpec(name=servable.name, signature_name=signature)
    spec.version.value = servable.version
    return spec


def _fill(infos: Any, specs: Iterable[TensorSpec]) -> None:
    for spec in specs:
        info = infos[spec.name]
        info.name, info.dtype = spec.name, DATA_TYPES.get(spec.dtype, 0)
        info.tensor_shape.unknown_rank = spec.shape is None
        for size in spec.shape or ():
            info.tensor_shape.dim.add(size=size if isinstance(size, int) else -1)


class V2Service:
    """``inference.GRPCInferenceService``.

    Args:
        store: The models.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def methods(self) -> Methods:
        """By service and method: the request's class and who answers it."""
        return {
            "inference.GRPCInferenceService": {
                "ServerLive": (inference.ServerLiveRequest, self._live),
                "ServerReady": (inference.ServerReadyRequest, self._ready),
                "ModelReady": (inference.ModelReadyRequest, self._model_ready),
                "ServerMetadata": (inference.ServerMetadataRequest, self._server_metadata),
                "ModelMetadata": (inference.ModelMetadataRequest, self._model_metadata),
                "ModelInfer": (inference.ModelInferRequest, self._infer),
            }
        }

    async def _live(self, request: Any, call: Any) -> Any:
        return inference.ServerLiveResponse(live=True)

    async def _ready(self, request: Any, call: Any) -> Any:
        return inference.ServerReadyResponse(ready=v2_rest.is_ready(self._store))

    async def _model_ready(self, request: Any, call: Any) -> Any:
        try:
            v2_rest.find(self._store, request.name, request.version)
        except ServingError:
            return inference.ModelReadyResponse(ready=False)
        return inference.ModelReadyResponse(ready=True)

    async def _server_metadata(self, request: Any, call: Any) -> Any:
        return inference.ServerMetadataResponse(name="xport", version=__version__)

    async def _model_metadata(self, request: Any, call: Any) -> Any:
        servable = v2_rest.find(self._store, request.name, request.version)
        call.note(servable)
        return inference.ModelMetadataResponse(**v2_rest.metadata(self._store, servable))

    async def _infer(self, request: Any, call: Any) -> Any:
        servable = v2_rest.find(self._store, request.model_name, request.model_version)
        call.note(servable)
        _, endpoint = servable.endpoint()
        inputs = v2_protos.tensors(request, endpoint.signature)
        outputs = await servable.predict(inputs, timeout=call.timeout)
        return v2_protos.response(request, outputs, servable.name, servable.version)
