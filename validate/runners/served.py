"""A model behind an endpoint: each run is a request, and its time is that of the way there and back, too."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xport.convert.source import Source
from xport.errors import ServingError, UsageError
from xport.serve.clients.connection import Connection
from xport.serve.protocols.decimals import Decimals
from xport.validate.runners.base import BaseRunner, Placement


class ServedRunner(BaseRunner):
    """Asks a server. Where it computes is its own business: ``device`` and ``threads`` say nothing here.

    Attributes:
        decimals: How many digits the server writes its numbers with, as far as its answers have shown.
    """

    runtime = "the server"

    def __init__(self, source: Source, *, device: str, threads: int | None) -> None:
        super().__init__(source, device=device, threads=threads)
        if source.served is None:
            raise UsageError(f"{source.name} is not served.")
        self._connection = Connection(source.served)
        self.signature = self._connection.signature
        self.decimals = Decimals()

    def _call(self, inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        protocol, target = self._connection.protocol, self._connection.target
        body, headers = protocol.ask(protocol.encode(target, inputs))
        found = protocol.decode(target, body, headers)
        if protocol.written:
            self.decimals.see(body)
        missing = [spec.name for spec in self.signature.outputs if spec.name not in found]
        if missing:
            raise ServingError(f"The answer lacks the output {missing[0]!r}.", code="INTERNAL")
        return found

    def placement(self, inputs: Mapping[str, np.ndarray]) -> Placement:
        """Nobody can tell from outside; the cell is about the endpoint as it is."""
        told = self._connection.description.platform
        how = f"over the wire, {self._connection.protocol.name} {self._connection.protocol.form}"
        return Placement(self.device, f"{how}; where it runs is the server's choice" + (f" ({told})" if told else ""))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
