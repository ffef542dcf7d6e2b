"""Starts ``xport serve MODEL`` and asks it once over loopback; a process of its own, for a network namespace."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import sandbox

import xport


def main(model: str) -> None:
    """Serve, ask, stop."""
    with sandbox.started("serve", model, "--port", 0, "--no-grpc", stderr=subprocess.STDOUT) as server:
        assert server.stdout is not None
        url, words = None, ""
        while url is None:
            line = server.stdout.readline().decode()
            words += line
            assert line, words
            url = re.search(r"http://127\.0\.0\.1:\d+", line)
        with xport.Client(url[0]) as client:
            (answer,) = client({"x": np.zeros((2, 4), np.float32)}).values()
        print("SHAPE", answer.shape)


if __name__ == "__main__":
    main(sys.argv[1])
