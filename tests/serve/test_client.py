"""`xport.Client` against this server, and against one that fails as told."""

import http.server
import json
import subprocess
import sys
import threading

import numpy as np
import pytest

import xport
from xport.errors import ServingError, UsageError

X = np.array([[1, 2], [-0.5, np.inf]], np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory, save_scaled_once, running):
    with running(save_scaled_once(tmp_path_factory.mktemp("net") / "net.onnx"), "--no-grpc") as started:
        yield started


@pytest.mark.parametrize("protocol", ["auto", "v2", "tf-serving"])
def test_numpy_in_and_out(server, protocol):
    with xport.Client(server.url, "net", protocol=protocol) as client:
        for _ in range(2):
            y = client({"x": X})["y"]
            assert y.dtype == np.float32
            np.testing.assert_array_equal(y, X * 2)
        np.testing.assert_array_equal(client.predict({"x": X}, version=1)["y"], X * 2)
        assert "net" in json.dumps(client.metadata())
        with pytest.raises(ServingError, match="has shape") as caught:
            client({"x": np.zeros((1, 3), np.float32)})
        assert caught.value.code == "INVALID_ARGUMENT"
        with pytest.raises(ServingError) as caught:
            client.predict({"x": X}, model="foo")
        assert caught.value.code == "NOT_FOUND"


def test_the_only_model_need_not_be_named(server):
    with xport.Client(server.url) as client:
        np.testing.assert_array_equal(client({"x": X})["y"], X * 2)


def test_threads_share_a_client(server):
    with xport.Client(server.url, "net") as client:
        results = {}

        def work(i):
            results[i] = client({"x": X * i})["y"]

        threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for i, y in results.items():
        np.testing.assert_array_equal(y, X * i * 2)
    assert len(results) == 8


@pytest.fixture
def scripted():
    """A server that answers ``/v1/models/net:predict`` with given statuses, one after the other."""
    statuses, seen = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status = statuses.pop(0)
            seen.append(status)
            if status == 0:
                self.close_connection = True
                return
            body = b'{"outputs": [[2.0, 4.0]]}' if status == 200 else b'{"error": "not now"}'
            if status == "proxy":
                status, body = 500, b"Internal Server Error"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            info = {"outputs": {"y": {"dtype": "DT_FLOAT"}}}
            body = json.dumps({"metadata": {"signature_def": {"signature_def": {"serving_default": info}}}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", statuses, seen
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_tries_again_while_that_may_help(scripted):
    url, statuses, seen = scripted
    statuses += [503, 429, 0, "proxy", 502, 200]
    with xport.Client(url, "net", protocol="tf-serving", backoff=0.001) as client:
        assert client({"x": X})["y"].tolist() == [[2, 4]]
    assert seen == [503, 429, 0, "proxy", 502, 200]


def test_it_gives_up_in_the_end(scripted):
    url, statuses, seen = scripted
    statuses += [503] * 5
    with xport.Client(url, "net", protocol="tf-serving", backoff=0.001, retries=2) as client:
        with pytest.raises(ServingError, match="503: not now") as caught:
            client({"x": X})
        assert caught.value.code == "UNAVAILABLE"
    assert len(seen) == 3


@pytest.mark.parametrize("status", [400, 500])
def test_what_is_wrong_is_not_tried_again(scripted, status):
    url, statuses, seen = scripted
    statuses += [status]
    match = f"{status}: not now"
    with xport.Client(url, "net", protocol="tf-serving") as client, pytest.raises(ServingError, match=match):
        client({"x": X})
    assert seen == [status]


def test_nobody_there():
    with xport.Client("http://127.0.0.1:9", "net", retries=1, backoff=0.001) as client:
        with pytest.raises(ServingError, match="does not answer") as caught:
            client({"x": X})
        assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("arguments", [("ftp://x",), ("http://",), ("http://x", "net", {"protocol": "soap"})])
def test_wrong_usage(arguments):
    named = arguments[2] if len(arguments) > 2 else {}
    with pytest.raises(UsageError):
        xport.Client(*arguments[:2], **named)


def test_it_needs_no_package_of_the_server():
    code = "import sys, xport; xport.Client; print(*[m for m in ('aiohttp', 'orjson', 'grpc') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
