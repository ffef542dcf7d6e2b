"""A server for each format, started by the command line as a user would."""

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xport.formats import Format

_HERE = Path(__file__).parent


def _load(name):
    spec = importlib.util.spec_from_file_location(f"protocol_{name}", _HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


models = _load("models")
_GRPC = re.compile(r"gRPC on \S+:(\d+)")
_HTTP = re.compile(r"Serving .* on (https?://[^\s\"]+)")


class Running:
    """A server process: its URL, its log, and a polite end."""

    def __init__(self, *arguments, seconds=120):
        command = [sys.executable, "-m", "xport", "serve", *map(str, arguments)]
        if "--port" not in command:
            command += ["--port", "0"]
        if "--grpc-port" not in command and "--no-grpc" not in command:
            command += ["--grpc-port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.url = self.grpc = ""
        end = time.monotonic() + seconds
        while not self.url and time.monotonic() < end:
            line = self.process.stderr.readline()
            if not line:
                break
            self.lines.append(line)
            found = _GRPC.search(line)
            self.grpc = f"127.0.0.1:{found[1]}" if found else self.grpc
            found = _HTTP.search(line)
            self.url = found[1] if found else ""
        assert self.url, "".join(self.lines)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            _, rest = self.process.communicate(timeout=60)
            self.lines.append(rest)
        finally:
            self.process.kill()
        return self.process.returncode


@contextlib.contextmanager
def running(*arguments):
    server = Running(*arguments)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def start_server():
    """Starts ``xport serve`` with arguments; a context manager."""
    return running


@pytest.fixture(scope="session")
def suite_models(tmp_path_factory):
    """The paths of both models by format, each format written once."""
    written = {}

    def get(file_format):
        if file_format not in written:
            written[file_format] = models.write_models(tmp_path_factory.mktemp(file_format.value), file_format)
        return written[file_format]

    return get


@pytest.fixture(scope="session")
def suite_server(suite_models):
    """A function that returns the running server of a format and its further arguments; all end with the session."""
    with contextlib.ExitStack() as stack:
        servers = {}

        def get(file_format, *arguments):
            key = (file_format, *arguments)
            if key not in servers:
                named = [f"{name}={path}" for name, path in suite_models(file_format).items()]
                label = ["--label", "tiny:stable=1"]
                servers[key] = stack.enter_context(running(*named, *label, *arguments))
            return servers[key]

        yield get


@pytest.fixture(scope="session")
def onnx_server(suite_server):
    return suite_server(Format.ONNX)


URL = os.environ.get("XPORT_PROTOCOL_URL", "").rstrip("/")
