"""A runner that misbehaves on purpose, by batch size and by what its file says."""

import os
import signal
import time

import numpy as np

from xport.errors import XportError
from xport.signature import Signature, TensorSpec
from xport.validate.runners.base import BaseRunner, Placement

WEIGHTS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("batch", 4)),),
    (TensorSpec("y", "float32", ("batch", 3)),),
)


class StandIn(BaseRunner):
    """``y = tanh(x @ w)`` like ``tiny_onnx``; its file is ``0123TFL3`` and words."""

    runtime = "StandIn"

    def __init__(self, source, *, device, threads):
        super().__init__(source, device=device, threads=threads)
        self.signature = SIGNATURE
        self.words = self.path.read_bytes()[8:].decode().split()
        if "abort-at-load" in self.words:
            os.abort()

    def _call(self, inputs):
        x = inputs["x"]
        for word in self.words:
            what, _, batch = word.partition("@")
            if batch and len(x) == int(batch):
                _misbehave(what)
        y = np.tanh(x @ WEIGHTS)
        if "nan" in self.words:
            y[0, 0] = np.nan
        if "off-at-zero" in self.words and not x.any():
            y += 1e-3
        if "random" in self.words:
            y += np.random.default_rng().standard_normal(y.shape).astype(np.float32)
        return {"y": y}

    def placement(self, inputs):
        return Placement("cpu" if "falls-back" in self.words else self.device, "a stand-in says so")

    def close(self):
        pass


def _misbehave(what):
    if what == "crash":
        os.abort()
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(60)
    if what == "memory":
        raise MemoryError("no room for 99 GiB")
    if what == "refuse":
        raise XportError("This size is not for me.")
