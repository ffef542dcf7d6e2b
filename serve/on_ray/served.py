"""An application that runs on a Ray cluster."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from xport.errors import XportError
from xport.ray_cluster import answers, first_line, places
from xport.runtimes import require

_LOOK_SECONDS = 2.0
_POLL = 0.5


class Served:
    """What was started on a cluster; a context manager that takes it away again.

    Args:
        ray: The connected module.
        name: What Ray Serve calls the application.
        url: Where it answers.
        names: The models.
        held: What ends with it.
        patience: Seconds in which the application must be gone when it is deleted.

    Attributes:
        engine: ``ray``.
        name: What Ray Serve calls the application.
        url: Where it answers.
        grpc: Empty: it serves HTTP only.
        names: The models.
        details: The application's name.
        notes: What a user should know.
    """

    engine = "ray"

    def __init__(
        self, ray: Any, name: str, url: str, names: Sequence[str], held: contextlib.ExitStack, *, patience: float = 60.0
    ) -> None:
        self._ray, self.name, self._held, self._patience = ray, name, held, patience
        self._places = places(ray)
        self.url, self.grpc, self.names = url, "", names
        self.details = {"application": name}
        self.notes: list[str] = []

    def state(self) -> tuple[str, list[str]]:
        """What Ray Serve calls the application's state, empty if there is none, and what it says about it."""
        found = require("ray.serve").status().applications.get(self.name)
        if found is None:
            return "", []
        return found.status.value, [*(d.message for d in found.deployments.values()), found.message]

    def wait(self) -> None:
        """Wait until the application ends.

        Raises:
            XportError: If it was not this program that ended it.
        """
        while True:
            time.sleep(_LOOK_SECONDS)
            try:
                state, _ = self.state()
            except Exception as error:  # Ray raises many kinds where its head is gone
                raise XportError(f"The Ray cluster is gone: {first_line(error)}", "Start it again.") from error
            if not state:
                raise XportError(f"The application {self.name} was deleted by somebody else.", "Start it again.")

    def delete(self) -> None:
        """Delete the application, and nothing else on the cluster; requests in flight finish.

        Where the cluster itself is going (a service manager signals all its processes at once) nobody answers any
        more, and nothing is left to delete.
        """
        worker = threading.Thread(target=self._delete, daemon=True)
        worker.start()
        end = time.monotonic() + self._patience
        while worker.is_alive() and time.monotonic() < end and answers(self._places):
            worker.join(_POLL)

    def _delete(self) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):  # the cluster is gone, and with it what was to delete
            if self.state()[0]:
                require("ray.serve").delete(self.name)

    def stop(self) -> None:
        """Take away whatever was started; safe to call twice."""
        with undisturbed():
            self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Signals are ignored inside: a second Ctrl-C must not leave half of a cluster behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
