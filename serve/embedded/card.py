"""What the worker tells the server about a model that it has opened."""

from __future__ import annotations

from dataclasses import dataclass

from xport.signature import Signature

DEFAULT_SIGNATURE = "serving_default"
"""The signature that is meant where none is named; of models without signatures, the only one."""
PREDICT_METHOD = "tensorflow/serving/predict"


@dataclass(frozen=True)
class Endpoint:
    """One signature of a model.

    Attributes:
        signature: Its inputs and outputs.
        method: Its ``method_name`` in a SavedModel; `PREDICT_METHOD` elsewhere.
        batchable: Whether rows of several requests may be run together.
        alone_because: Why not; empty if they may.
    """

    signature: Signature
    method: str = PREDICT_METHOD
    batchable: bool = False
    alone_because: str = ""


@dataclass(frozen=True)
class ModelCard:
    """A model that was opened and checked.

    Attributes:
        format: How it is stored, for example ``onnx``.
        endpoints: Its signatures by name.
        golden: How many golden cases were replayed; 0 for a model that carries none.
        source: The name of what it was converted from; empty for a model that xport did not make.
        warnings: What its owner should know.
    """

    format: str
    endpoints: dict[str, Endpoint]
    golden: int = 0
    source: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def default(self) -> str:
        """The name of the signature that is meant where none is named."""
        return DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in self.endpoints else next(iter(self.endpoints))
