"""TF Serving's status and metadata, as JSON.

Sources: tensorflow_serving/apis/{get_model_status,get_model_metadata}.proto printed with every field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xport.serve.protocols.tf_dtypes import DTYPE_ENUMS
from xport.signature import Signature, TensorSpec


def version_status(version: int, state: str, code: str, message: str) -> dict[str, Any]:
    """The status of one version."""
    return {
        "version": str(version),
        "state": state,
        "status": {"error_code": code, "error_message": message},
    }


def metadata(name: str, version: int, signatures: Iterable[tuple[str, Signature, str]]) -> dict[str, Any]:
    """The metadata of a version.

    Args:
        name: The model's name.
        version: The version.
        signatures: Name, interface and method of each signature.
    """
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    key: {
                        "inputs": _infos(signature.inputs),
                        "outputs": _infos(signature.outputs),
                        "method_name": method,
                        "defaults": {},
                    }
                    for key, signature, method in signatures
                }
            }
        },
    }


def _infos(specs: Iterable[TensorSpec]) -> Mapping[str, Any]:
    return {spec.name: _info(spec) for spec in specs}


def _info(spec: TensorSpec) -> dict[str, Any]:
    dims = [{"size": str(d if isinstance(d, int) else -1), "name": ""} for d in spec.shape or ()]
    return {
        "dtype": DTYPE_ENUMS[spec.dtype],
        "tensor_shape": {"dim": dims, "unknown_rank": spec.shape is None},
        "name": spec.name,
    }
