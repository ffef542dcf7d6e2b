"""Move a trained model between PyTorch, ONNX, TensorFlow SavedModel and TFLite, with a proof.

>>> import xport
>>> artifact = xport.convert("model.pt2", to="savedmodel")  # doctest: +SKIP
>>> model = xport.load(artifact.path)  # doctest: +SKIP

Importing this package imports no framework; each name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xport.artifact import Artifact as Artifact
    from xport.artifact import Proof as Proof
    from xport.convert.api import convert as convert
    from xport.convert.many.api import convert_many as convert_many
    from xport.convert.many.results import ManyReport as ManyReport
    from xport.convert.to_module import to_module as to_module
    from xport.errors import ConversionError as ConversionError
    from xport.errors import DestinationError as DestinationError
    from xport.errors import InputsError as InputsError
    from xport.errors import MissingRuntimeError as MissingRuntimeError
    from xport.errors import ParityError as ParityError
    from xport.errors import ServingError as ServingError
    from xport.errors import UnreadableModelError as UnreadableModelError
    from xport.errors import UnsupportedError as UnsupportedError
    from xport.errors import UntrustedCodeError as UntrustedCodeError
    from xport.errors import UsageError as UsageError
    from xport.errors import WorkerError as WorkerError
    from xport.errors import XportError as XportError
    from xport.errors import XportWarning as XportWarning
    from xport.formats import Format as Format
    from xport.inspection import inspect as inspect
    from xport.loading import load as load
    from xport.serve.client import Client as Client
    from xport.serve.probing.api import probe as probe
    from xport.serve.probing.results import ProbeReport as ProbeReport
    from xport.signature import Signature as Signature
    from xport.signature import TensorSpec as TensorSpec
    from xport.validate.api import validate as validate
    from xport.validate.comparing.api import compare as compare
    from xport.validate.comparing.results import CompareReport as CompareReport
    from xport.validate.results import ValidationReport as ValidationReport
    from xport.validate.verdicts import Tolerance as Tolerance
    from xport.verify import verify as verify

__version__ = "0.1.0"

_HOMES = {
    "Artifact": "xport.artifact",
    "Client": "xport.serve.client",
    "CompareReport": "xport.validate.comparing.results",
    "ConversionError": "xport.errors",
    "DestinationError": "xport.errors",
    "Format": "xport.formats",
    "InputsError": "xport.errors",
    "ManyReport": "xport.convert.many.results",
    "MissingRuntimeError": "xport.errors",
    "ParityError": "xport.errors",
    "ProbeReport": "xport.serve.probing.results",
    "Proof": "xport.artifact",
    "ServingError": "xport.errors",
    "Signature": "xport.signature",
    "TensorSpec": "xport.signature",
    "Tolerance": "xport.validate.verdicts",
    "UnreadableModelError": "xport.errors",
    "UnsupportedError": "xport.errors",
    "UntrustedCodeError": "xport.errors",
    "UsageError": "xport.errors",
    "ValidationReport": "xport.validate.results",
    "WorkerError": "xport.errors",
    "XportError": "xport.errors",
    "XportWarning": "xport.errors",
    "compare": "xport.validate.comparing.api",
    "convert_many": "xport.convert.many.api",
    "inspect": "xport.inspection",
    "load": "xport.loading",
    "probe": "xport.serve.probing.api",
    "to_module": "xport.convert.to_module",
}
# Modules and packages of that name that are also functions; see `xport.callable_module`.
_CALLABLE = ("convert", "validate", "verify")

__all__ = [
    "Artifact",
    "Client",
    "CompareReport",
    "ConversionError",
    "DestinationError",
    "Format",
    "InputsError",
    "ManyReport",
    "MissingRuntimeError",
    "ParityError",
    "ProbeReport",
    "Proof",
    "ServingError",
    "Signature",
    "TensorSpec",
    "Tolerance",
    "UnreadableModelError",
    "UnsupportedError",
    "UntrustedCodeError",
    "UsageError",
    "ValidationReport",
    "WorkerError",
    "XportError",
    "XportWarning",
    "__version__",
    "compare",
    "convert",
    "convert_many",
    "inspect",
    "load",
    "probe",
    "to_module",
    "validate",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _CALLABLE:
        return importlib.import_module(f"xport.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'xport' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
