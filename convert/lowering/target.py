"""What every target must offer: the part of the primitives that the interpreter itself needs.

A target is a class of primitives; `xport.convert.primitives` holds TensorFlow's and PyTorch's, one mixin an operator
family. Operators call primitives by these names. A tensor a primitive takes or gives is the target's own.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xport.convert.lowering.values import HostVector, product


class Target(abc.ABC):
    """The primitives that the interpreter and every operator may use."""

    name: str
    """``tensorflow`` or ``torch``."""

    channels_last: bool
    """Whether images are stored channels-last; then layout policies apply."""

    keeps_weights: bool
    """Whether known inputs stay named parameters (PyTorch), rather than arrays a handler may rearrange."""

    flavor: str = ""
    """What the result is for, where that matters: ``tflite`` or empty."""

    def limit(self, error: Exception) -> str:
        """What the target cannot express, if an error of its own says that; empty if something broke."""
        return ""

    @abc.abstractmethod
    def constant(self, array: np.ndarray, name: str = "", key: np.ndarray | None = None) -> Any:
        """A known array as a tensor: a weight if it is large, a constant if it is small.

        Args:
            array: The content.
            name: The ONNX value it belongs to, which names the weight.
            key: The array by whose identity the weight is shared; ``array`` itself if None.
        """

    @abc.abstractmethod
    def numpy(self, tensor: Any) -> np.ndarray:
        """The content of a tensor that was computed under `eager`."""

    @abc.abstractmethod
    def rank(self, tensor: Any) -> int | None:
        """The rank; None if unknown."""

    @abc.abstractmethod
    def shape(self, tensor: Any) -> list[Any]:
        """The sizes in stored order, each a number or a run-time size."""

    @abc.abstractmethod
    def dtype(self, tensor: Any) -> str:
        """The signature's dtype name."""

    @abc.abstractmethod
    def reshape(self, tensor: Any, sizes: Sequence[Any]) -> Any:
        """Reshape to sizes, of which one may be -1."""

    @abc.abstractmethod
    def transpose(self, tensor: Any, order: Sequence[int]) -> Any:
        """Transpose: axis ``i`` of the result is axis ``order[i]``."""

    @abc.abstractmethod
    def stack(self, vector: HostVector) -> Any:
        """A host vector as a tensor of its dtype."""

    @abc.abstractmethod
    def unstack(self, tensor: Any, what: str) -> list[Any]:
        """The elements of an integer vector or scalar as run-time sizes; refuses one of unknown length."""

    def receive(self, tensor: Any, dtype: str | None) -> Any:
        """A graph input as the lowering handles it; refuses a type that the target cannot take."""
        return tensor

    def deliver(self, tensor: Any, dtype: str | None) -> Any:
        """A graph output in the type that the model declares; refuses one that the target cannot give."""
        return tensor

    def name_dims(self, tensor: Any, dims: Sequence[int | str | None]) -> None:  # noqa: B027
        """Learn what shape inference knows of a tensor's stored sizes."""

    def anchor(self, tensor: Any, dims: Sequence[int | str | None]) -> None:  # noqa: B027
        """Learn that a graph input tells the sizes that symbols stand for."""

    def product(self, sizes: Sequence[Any]) -> Any:
        """The product of sizes; 1 for none."""
        return product(sizes)

    @abc.abstractmethod
    def size_max(self, a: Any, b: Any) -> Any:
        """The larger of two sizes."""

    @abc.abstractmethod
    def size_min(self, a: Any, b: Any) -> Any:
        """The smaller of two sizes."""

    def is_one(self, size: Any) -> bool:
        """Whether a size is known to be one."""
        return isinstance(size, int) and size == 1

    def graph_key(self) -> Any:
        """Identifies the graph being built, inside which tensors may be shared; None where that is no matter."""
        return None

    def eager(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which primitives compute at once."""
        return contextlib.nullcontext()

    def compose(
        self,
        name: str,
        record: str,
        tensors: Sequence[Any],
        body: Callable[[Sequence[Any]], Sequence[Any]],
    ) -> Sequence[Any]:
        """Lower an operator inside a function of its own.

        Args:
            name: What the function is called.
            record: What it implements.
            tensors: Its arguments.
            body: Lowers the operator, given the arguments inside.

        Returns:
            The results outside.
        """
        return body(tensors)

    def is_long(self, body: Callable[[], Sequence[Any]], least: int) -> bool:
        """Whether a lowering gives plain tensors, and takes at least so many operators; it is done for a trial.

        False where `compose` makes no functions.
        """
        return False

    def scope(self, name: str) -> contextlib.AbstractContextManager[Any]:
        """A context that carries the ONNX node's name into the result."""
        return contextlib.nullcontext()
