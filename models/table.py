"""The table of reference architectures; importing it does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from xport.errors import UsageError

if TYPE_CHECKING:
    from xport.models.base import ReferenceModule

FACTORIES: dict[str, str] = {
    "digits_cnn": "xport.models.basic:digits_cnn",
    "mnist_mlp": "xport.models.basic:mnist_mlp",
    "alexnet": "xport.models.plain_convnets:alexnet",
    "vgg19": "xport.models.plain_convnets:vgg19",
    "resnet50": "xport.models.resnet:resnet50",
    "mobilenet_v2": "xport.models.mobilenet:mobilenet_v2",
    "densenet121": "xport.models.densenet:densenet121",
    "unet": "xport.models.segmentation:unet",
    "vit": "xport.models.vision_transformer:vit",
    "bert": "xport.models.text_encoder:bert",
    "gpt": "xport.models.text_decoder:gpt",
    "gru_classifier": "xport.models.recurrent:gru_classifier",
    "seq2seq": "xport.models.recurrent:seq2seq",
    "ncf": "xport.models.recommendation:ncf",
    "detector": "xport.models.detection:detector",
}
"""Model name to `module:factory`, in the order `names()` gives."""


def names() -> tuple[str, ...]:
    """Names of the reference architectures, smallest family first."""
    return tuple(FACTORIES)


def load_factory(name: str) -> Callable[..., ReferenceModule]:
    """Import and return the factory of one architecture.

    Args:
        name: One of `names()`.

    Returns:
        A callable that takes an optional keyword `size` and returns the module.

    Raises:
        UsageError: The name is not in the table.
    """
    if name not in FACTORIES:
        raise UsageError(f"there is no reference model named {name!r}", f"Choose one of: {', '.join(FACTORIES)}.")
    module, _, attribute = FACTORIES[name].partition(":")
    factory: Callable[..., ReferenceModule] = getattr(import_module(module), attribute)
    return factory
