"""Bundles for KServe: a runtime of our own, and an InferenceService that names it and the place of the model.

The storage initializer of KServe brings the model's folder to ``/mnt/models``; the container holds the server only.
Sources: https://kserve.github.io/website/docs/reference/crd-api; the schemas of the CRDs check the manifests in tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xport.errors import UsageError
from xport.serve.packaging import render
from xport.serve.packaging.bundle import MODELS, Packed
from xport.serve.packaging.cluster import VOLUMES, Placement, container, placement
from xport.serve.packaging.embedded import PORT, serve_arguments, write_image
from xport.serve.packaging.kubernetes import model_digest
from xport.serve.packaging.lock import PYTHON_IMAGE

STORAGE_SCHEMES = ("gs", "s3", "pvc", "hdfs", "webhdfs", "https", "http", "hf", "oci")
"""What the storage initializer understands (python/storage/kserve_storage)."""
_PLACE = "/mnt/models"
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_KINDS = (
    *("model", "containers", "sklearn", "xgboost", "tensorflow", "pytorch"),
    *("triton", "onnx", "huggingface", "pmml", "lightgbm", "paddle"),
)


def write(
    folder: Path,
    models: Sequence[Packed],
    *,
    base_image: str = PYTHON_IMAGE,
    storage_uri: str = "",
    **sizes: str,
) -> list[Packed]:
    """Write manifests, the container of the runtime, and the model as it is to be uploaded.

    Args:
        folder: The bundle; the model lies in it already.
        models: The one model.
        base_image: What the container is made from.
        storage_uri: Where the user will upload the model.
        **sizes: As for `xport.serve.packaging.cluster.placement`.

    Returns:
        The models as they lie in the bundle.

    Raises:
        UsageError: If something is missing that KServe's webhook would miss.
    """
    model = models[0]
    place = placement(model, model_digest(folder), **sizes)
    documents = (serving_runtime(place, model), inference_service(place, model, storage_uri))
    check_inference_service(documents[1])
    write_image(folder / "image", models, base_image=base_image, with_models=False)
    for document in documents:
        render.write_yaml(folder / "manifests" / f"{document['kind'].lower()}.yaml", document)
    values = {"place": place, "model": model, "port": PORT, "storage_uri": storage_uri}
    render.write(folder / "README.md", "kserve.README.md.j2", **values, upload=f"{MODELS}/{model.name}")
    return list(models)


def serving_runtime(place: Placement, model: Packed) -> dict[str, Any]:
    """The runtime: xport's own server on whatever the storage initializer has brought."""
    # KServe puts the InferenceService's name in; the model has to answer to it.
    server = container(place, "kserve-container", arguments=serve_arguments([f"{{{{.Name}}}}={_PLACE}"]))
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {**place.metadata, "name": _runtime(place)},
        "spec": {
            "supportedModelFormats": [{"name": model.format.value, "version": "1", "autoSelect": False}],
            "protocolVersions": ["v1", "v2"],
            "containers": [server],
            "volumes": VOLUMES,
        },
    }


def inference_service(place: Placement, model: Packed, storage_uri: str) -> dict[str, Any]:
    """The service: it names the runtime, so that no other is chosen."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": place.metadata,
        "spec": {
            "predictor": {
                "minReplicas": place.least,
                "maxReplicas": place.most,
                "automountServiceAccountToken": False,
                "model": {
                    "modelFormat": {"name": model.format.value, "version": "1"},
                    "runtime": _runtime(place),
                    "protocolVersion": "v2",
                    "storageUri": storage_uri,
                    "resources": place.resources,
                },
            }
        },
    }


def _runtime(place: Placement) -> str:
    return f"{place.name}-xport"


def check_inference_service(document: Mapping[str, Any]) -> None:
    """Rules that no schema holds: KServe's webhook refuses what breaks them.

    Args:
        document: An InferenceService.

    Raises:
        UsageError: Naming the first that is broken.
    """
    name = document["metadata"]["name"]
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be an InferenceService's name: small letters, digits, '-', beginning with a letter.",
            "Name the model: xport package NAME=MODEL …",
        )
    predictor = document["spec"]["predictor"]
    kinds = [kind for kind in _KINDS if predictor.get(kind)]
    if len(kinds) != 1:
        raise UsageError(f"A predictor has exactly one kind, this one has {', '.join(kinds) or 'none'}.")
    if kinds != ["model"]:
        return
    if not predictor["model"].get("modelFormat", {}).get("name"):
        raise UsageError("The predictor's model has no modelFormat.")
    uri = predictor["model"].get("storageUri", "")
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in STORAGE_SCHEMES or not rest:
        raise UsageError(
            f"KServe fetches the model from a storage, but --storage-uri is {uri!r}.",
            f"Say where you will upload it: --storage-uri s3://bucket/path ({', '.join(STORAGE_SCHEMES)}).",
        )
    if predictor.get("minReplicas", 1) > predictor.get("maxReplicas", 1):
        raise UsageError("minReplicas is larger than maxReplicas.", "Write --replicas 1:4")
