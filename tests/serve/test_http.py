"""What a server does with hostile, slow and unlucky clients, and how it starts and ends."""

import gzip
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

BODY = json.dumps({"instances": [[1, 2]]})
PREDICT = "/v1/models/net:predict"


@pytest.fixture(scope="module")
def server(tmp_path_factory, save_scaled_once, running):
    """One server with small limits."""
    path = save_scaled_once(tmp_path_factory.mktemp("net") / "net.onnx")
    limits = ["--max-body", "100KB", "--no-grpc", "--access-log", "--log-format", "json"]
    with running(path, *limits) as started:
        yield started


def ask(server, method, path, body=None, headers=None, context=None):
    place = urlsplit(server.url)
    kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
    connection = kind(place.netloc, timeout=30, **({"context": context} if context else {}))
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def raw(server, data, *, seconds=10):
    """What comes back for bytes of any kind."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=seconds) as connection:
        connection.sendall(data)
        parts = b""
        try:
            while chunk := connection.recv(65536):
                parts += chunk
                if b"\r\n\r\n" in parts:
                    break
        except TimeoutError:
            pass
        return parts


def test_a_body_over_the_limit(server):
    status, data, _ = ask(server, "POST", PREDICT, b" " * 200_000)
    assert (status, json.loads(data)) == (413, {"error": "The body is larger than 100000 bytes."})
    assert ask(server, "POST", PREDICT, BODY)[0] == 200


def test_a_chunked_body_over_the_limit(server):
    status, data, _ = ask(server, "POST", PREDICT, (b" " * 50_000 for _ in range(4)))
    assert (status, "larger than" in data.decode()) == (413, True)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(server, encoding, compress):
    headers = {"Content-Encoding": encoding}
    assert ask(server, "POST", PREDICT, compress(BODY.encode()), headers)[0] == 200
    bomb = compress(b" " * 50_000_000)
    status, data, _ = ask(server, "POST", PREDICT, bomb, headers)
    assert (status, "larger than" in data.decode()) == (413, True)
    assert ask(server, "POST", PREDICT, b"nonsense", headers)[0] == 400
    assert ask(server, "POST", PREDICT, BODY)[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/models/net:predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/models/net:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
    ],
    ids=["garbage", "version", "length", "chunks", "line", "headers"],
)
def test_what_is_no_http(server, data):
    answer = raw(server, data)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), answer[:200]
    assert ask(server, "POST", PREDICT, BODY)[0] == 200


def test_a_body_that_is_not_utf8(server):
    status, data, _ = ask(server, "POST", PREDICT, b'{"instances": "\xff"}')
    assert (status, "JSON Parse error" in json.loads(data)["error"]) == (400, True)


def test_a_client_that_leaves_harms_nobody(server):
    place = urlsplit(server.url)
    for _ in range(20):
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(
                f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}".encode()
            )
    assert ask(server, "POST", PREDICT, BODY)[0] == 200


def test_metrics(server):
    ask(server, "POST", PREDICT, BODY)
    ask(server, "POST", "/v1/models/nothing:predict", BODY)
    status, data, headers = ask(server, "GET", "/metrics")
    text = data.decode()
    assert (status, headers["Content-Type"].startswith("text/plain")) == (200, True)
    assert 'xport_requests_total{model="net",protocol="tf",status="200",version="1"}' in text
    assert 'xport_request_seconds_bucket{le="0.01",model="net",version="1"}' in text
    assert 'xport_batch_rows_count{model="net",version="1"}' in text
    assert 'xport_queue_requests{model="net",version="1"} 0.0' in text
    assert 'model="nothing"' not in text  # or anybody could fill the page


def test_unknown_paths(server):
    assert ask(server, "GET", "/nothing")[0] == 404
    assert ask(server, "GET", "/v1/nothing")[0] == 400


@pytest.mark.parametrize("arguments", [["--port", "PORT", "--no-grpc"], ["--port", "0", "--grpc-port", "PORT"]])
def test_a_port_in_use_is_an_error_and_leaves_nothing(tmp_path, save_scaled, arguments):
    path = save_scaled(tmp_path / "net.onnx")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = [port if a == "PORT" else a for a in arguments]
        result = command(path, *arguments)
    assert result.returncode == 2
    assert f"Port {port} on 127.0.0.1 is in use" in result.stderr
    assert "Traceback" not in result.stderr


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "xport", "serve", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def test_a_model_that_fails_its_golden_inputs_is_an_error(tmp_path, save_scaled):
    good, bad = save_scaled(tmp_path / "good.onnx"), save_scaled(tmp_path / "bad.onnx", wrong=True)
    result = command(good, bad, "--port", "0", "--no-grpc")
    assert result.returncode == 3
    assert "no longer gives what it gave when it was made" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.onnx"], "does not exist"),
        (["NET", "NET"], "Two models are called"),
        (["NET", "--tls-cert", "cert.pem"], "belong together"),
        (["NET", "--tls-cert", "cert.pem", "--tls-key", "key.pem"], "cannot be used"),
        (["NET", "--token-file", "none"], "cannot be read"),
        (["NET", "--max-delay", "soon"], "Malformed duration"),
        (["NET", "--max-body", "much"], "Malformed size"),
        (["NET", "--label", "x"], "Malformed label"),
        (["NET", "--host", "203.0.113.1"], "cannot be listened on"),
    ],
)
def test_wrong_usage(tmp_path, save_scaled, arguments, words):
    path = save_scaled(tmp_path / "net.onnx")
    result = command(*[path if a == "NET" else a for a in arguments], "--port", "0", "--no-grpc")
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def workers_of(pid):
    return {int(p) for file in Path(f"/proc/{pid}/task").glob("*/children") for p in file.read_text().split()}


def test_sigterm_lets_requests_in_flight_finish_and_refuses_new_ones(tmp_path, save_scaled, running):
    with running(save_scaled(tmp_path / "net.onnx"), "--no-grpc") as server:
        workers = workers_of(server.process.pid)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        results = []
        held = threading.Thread(target=lambda: results.append(ask(server, "POST", PREDICT, BODY)))
        held.start()
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        refused = ask(server, "POST", PREDICT, BODY)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        held.join(30)
        assert server.stop() == 0
    assert results[0][0] == 200
    assert json.loads(results[0][1]) == {"predictions": [[2.0, 4.0]]}
    assert refused[0] == 503
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_killed_server_leaves_no_worker(tmp_path, save_scaled, running):
    with running(save_scaled(tmp_path / "net.onnx"), "--no-grpc") as server:
        workers = workers_of(server.process.pid)
        assert workers
        server.stop(signal.SIGKILL)
        end = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_slow_clients_are_sent_away(tmp_path, save_scaled):
    """In this process, where the limits can be made short."""
    import asyncio

    from xport.serve.embedded.catalogue import parse_model
    from xport.serve.embedded.options import ServerOptions
    from xport.serve.embedded.server import EmbeddedServer

    async def scenario():
        options = ServerOptions(port=0, grpc_port=None, body_timeout=0.3, idle_timeout=0.3)
        async with EmbeddedServer([parse_model(str(save_scaled(tmp_path / "net.onnx")))], options) as server:
            answers = []
            for data in (b"POST /v1/models/net:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", b"GET / HT"):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(data)
                async with asyncio.timeout(10):
                    answers.append(await reader.read())
                writer.close()
            return answers

    slow_body, slow_head = asyncio.run(scenario())
    assert slow_body.startswith(b"HTTP/1.1 408")
    assert b"did not arrive within 0.3 s" in slow_body
    assert slow_head == b""


def test_tokens(tmp_path, save_scaled, running):
    tokens = tmp_path / "tokens"
    tokens.write_text("first\nsecond\n")
    with running(save_scaled(tmp_path / "net.onnx"), "--token-file", tokens) as server:
        for header, status in ((None, 401), ("Bearer wrong", 401), ("Basic second", 401), ("Bearer second", 200)):
            headers = {"Authorization": header} if header else {}
            found, data, answer_headers = ask(server, "POST", PREDICT, BODY, headers)
            assert found == status
            if status == 401:
                assert answer_headers["WWW-Authenticate"] == "Bearer"
                assert "token" in json.loads(data)["error"]
        assert ask(server, "GET", "/v2/health/ready")[0] == 200
        assert ask(server, "GET", "/metrics")[0] == 401
        import grpc

        from xport.serve.protocols.v2_protos import inference

        with grpc.insecure_channel(server.grpc) as channel:
            call = channel.unary_unary(
                "/inference.GRPCInferenceService/ServerMetadata",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=inference.ServerMetadataResponse.FromString,
            )
            with pytest.raises(grpc.RpcError) as caught:
                call(inference.ServerMetadataRequest(), timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            request = inference.ServerMetadataRequest()
            assert call(request, timeout=10, metadata=[("authorization", "Bearer first")]).name == "xport"


def test_tls(tmp_path, save_scaled, running):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not here")
    with running(save_scaled(tmp_path / "net.onnx"), "--tls-cert", cert, "--tls-key", key) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        assert ask(server, "POST", PREDICT, BODY, context=context)[0] == 200
        import grpc

        from xport.serve.protocols.v2_protos import inference

        with grpc.secure_channel(server.grpc, grpc.ssl_channel_credentials(cert.read_bytes())) as channel:
            live = channel.unary_unary(
                "/inference.GRPCInferenceService/ServerLive",
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=inference.ServerLiveResponse.FromString,
            )
            assert live(inference.ServerLiveRequest(), timeout=10).live


def test_structured_logs(tmp_path, save_scaled, running):
    with running(save_scaled(tmp_path / "net.onnx"), "--no-grpc", "--access-log", "--log-format", "json") as server:
        ask(server, "POST", PREDICT, BODY)
        server.stop()
        records = [json.loads(line) for line in "".join(server.lines).splitlines()]
    entry = next(r for r in records if r["logger"] == "xport.serve.access")
    assert (entry["status"], entry["model"], entry["version"], entry["path"]) == (200, "net", "1", PREDICT)
