"""What is served and how, as it travels to the machines of a cluster, and errors as they travel back."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from urllib.parse import quote

from xport import __version__, errors
from xport.errors import UsageError, XportError
from xport.serve.embedded.batching import Tensors
from xport.signature import TensorSpec

_MARK = re.compile(r"XPORT-ERROR:([A-Za-z0-9+/=]+):")
_LONGEST = 4000


@dataclass(frozen=True)
class Scale:
    """How many replicas a version has.

    Attributes:
        least: At the least.
        most: At the most; Ray decides between both by the load.
    """

    least: int = 1
    most: int = 1

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Read ``MIN:MAX``.

        Raises:
            UsageError: If it is something else, or the least is 0: a version is proven before it takes requests.
        """
        least, colon, most = text.partition(":")
        if not (colon and least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
            raise UsageError(f"Malformed range of replicas {text!r}.", "Write it like --autoscale 1:4, from 1 up.")
        return cls(int(least), int(most))


@dataclass(frozen=True)
class ModelSpec:
    """One version of a model.

    Attributes:
        name: The model's name.
        version: Its number.
        path: The artifact, absolute, as every machine of the cluster sees it.
        digest: The hash of its files.
        inputs: Its inputs, if it does not record them.
        device: Where it runs.
        threads: Threads of its runtime, and processors of Ray's count.
        max_batch: The most rows that requests are put together to.
        max_delay: The most seconds that a request waits for others.
        require_proof: Refuse it without golden inputs.
        written_by: xport's version where the command was given.
    """

    name: str
    version: int
    path: str
    digest: str
    inputs: tuple[TensorSpec, ...] = ()
    device: str = "cpu"
    threads: int = 1
    max_batch: int = 32
    max_delay: float = 0.002
    require_proof: bool = False
    written_by: str = __version__

    @property
    def deployment(self) -> str:
        """What Ray calls its deployment; it wants names without ``#``."""
        return f"{quote(self.name, safe='')}-v{self.version}"

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.name} version {self.version}"


@dataclass(frozen=True)
class Portion:
    """A request on its way to a replica.

    Attributes:
        signature: Which signature it asks for.
        inputs: Its tensors, checked.
        key: Requests of one key may run together; None runs alone.
        rows: Its size on the batch axis.
    """

    signature: str
    inputs: Tensors
    key: object
    rows: int


def mark(error: XportError) -> str:
    """An error as a text that survives being quoted in Ray's messages."""
    told = [type(error).__name__, error.message[:_LONGEST], error.fix[:_LONGEST]]
    return f"XPORT-ERROR:{base64.b64encode(json.dumps(told).encode()).decode()}:"


def marked_error(text: str) -> XportError | None:
    """The error that `mark` put into a text; None if there is none."""
    found = _MARK.search(text)
    if found is None:
        return None
    kind, message, fix = json.loads(base64.b64decode(found[1]))
    made: XportError = getattr(errors, kind, XportError)(message, fix)
    return made
