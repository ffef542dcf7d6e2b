"""One version of a model as the protocols see it, wherever it runs."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from xport.errors import InputsError, ServingError, XportError
from xport.serve.embedded.batchable import leading_symbol
from xport.serve.embedded.card import Endpoint, ModelCard

Tensors = Mapping[str, np.ndarray]


class State(enum.Enum):
    """TF Serving's states of a version (tensorflow_serving/apis/get_model_status.proto)."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Version(ABC):
    """A version of a model.

    Args:
        name: The model's name.
        version: Its number.

    Attributes:
        name: The model's name.
        version: Its number.
        card: What the model is; None until it is loaded.
        state: Where it stands.
        error: Why it is not available; None if nothing is wrong.
    """

    def __init__(self, name: str, version: int) -> None:
        self.name, self.version = name, version
        self.card: ModelCard | None = None
        self.state = State.START
        self.error: XportError | None = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.name} version {self.version}"

    def endpoint(self, signature: str = "") -> tuple[str, Endpoint]:
        """A signature by name; the default one for the empty name.

        Raises:
            ServingError: If there is none of that name.
        """
        if self.card is None:
            raise ServingError(f"{self.label} is not loaded.", code="UNAVAILABLE")
        name = signature or self.card.default
        if name not in self.card.endpoints:
            raise ServingError(f'Serving signature name: "{name}" not found in signature def')
        return name, self.card.endpoints[name]

    @abstractmethod
    async def predict(
        self, inputs: Tensors, signature: str = "", *, timeout: float | None = None
    ) -> dict[str, np.ndarray]:
        """Run the model for one request.

        Args:
            inputs: Arrays by input name.
            signature: Which signature; the default one for the empty name.
            timeout: Seconds until it is given up; by default the server's.

        Returns:
            Arrays by output name, in the signature's order.

        Raises:
            ServingError: With the code that says why not.
        """

    def admit(self, inputs: Tensors, signature: str) -> tuple[str, object, int]:
        """Check a request's tensors against the signature.

        Returns:
            The signature's name; what requests that may run together have in common, None for one that runs alone;
            the size on the batch axis, 1 for what runs alone.

        Raises:
            ServingError: Naming the tensor at fault.
        """
        name, endpoint = self.endpoint(signature)
        try:
            sizes = endpoint.signature.check(inputs)
        except InputsError as error:
            raise ServingError(error.message, error.fix) from error
        symbol = leading_symbol(endpoint.signature) if endpoint.batchable else None
        if symbol is None or not sizes[symbol]:
            return name, None, 1
        return name, (name, *(array.shape[1:] for array in inputs.values()), *inputs), sizes[symbol]
