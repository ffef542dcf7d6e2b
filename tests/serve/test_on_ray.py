"""What the Ray engine does apart from Ray: arguments, batches, bodies, errors on their way. The engine itself is
tested on a cluster by tests/deploy/test_ray_serve.py.
"""

import asyncio
import gzip
import sys
import zlib

import numpy as np
import pytest
from onnx import helper

from xport import errors
from xport.errors import MissingRuntimeError, ParityError, ServingError, UnreadableModelError, UsageError, XportError
from xport.serve.embedded.catalogue import parse_model
from xport.serve.embedded.opened import open_checked
from xport.serve.embedded.options import ServerOptions
from xport.serve.on_ray import replica, spec

X = np.array([[1, 2], [3, 4]], np.float32)


@pytest.fixture
def no_ray(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)


def test_without_ray_it_says_what_to_install(tmp_path, save_scaled, no_ray, call):
    code, _, err = call("serve", save_scaled(tmp_path / "net.onnx"), "--engine", "ray")
    assert code == MissingRuntimeError.exit_code
    assert "pip install 'xport-ml[ray]'" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--engine", "ray", "--workers", "2"), "does not take --workers"),
        (("--engine", "ray", "--grpc-port", "1", "--token-file", "t"), "does not take --grpc-port, --token-file"),
        (("--engine", "ray", "--poll", "1s"), "does not take --poll"),
        (("--engine", "tf-serving", "--replicas", "2"), "does not take --replicas"),
        (("--replicas", "2"), "embedded does not take --replicas"),
        (("--ray-address", "h:1", "--autoscale", "1:2"), "does not take --autoscale, --ray-address"),
        (("--engine", "ray", "--replicas", "2", "--autoscale", "1:2"), "exclude each other"),
        (("--engine", "ray", "--autoscale", "0:2"), "Malformed range"),
        (("--engine", "ray", "--autoscale", "3:2"), "Malformed range"),
        (("--engine", "ray", "--autoscale", "many"), "Malformed range"),
        (("--engine", "ray", "--ray-address", "nowhere"), "Malformed address"),
        (("--engine", "ray", "--ray-address", "127.0.0.1:9"), "No Ray cluster answers at 127.0.0.1:9"),
        (("--engine", "ray", "--label", "net:stable=3"), "no version 3"),
    ],
)
def test_wrong_arguments_are_told_before_anything_starts(tmp_path, save_scaled, call, arguments, words):
    pytest.importorskip("ray.serve")
    save_scaled(tmp_path / "net/1/net.onnx")
    code, _, err = call("serve", tmp_path / "net", *arguments)
    assert code == UsageError.exit_code
    assert words in err


def test_nothing_is_packaged_for_it(tmp_path, save_scaled, call):
    code, _, err = call("package", save_scaled(tmp_path / "net.onnx"), "--engine", "ray", "-o", tmp_path / "out")
    assert code == UsageError.exit_code
    assert "xport serve MODEL --engine ray" in err


def test_the_newest_version_and_the_labelled_are_served(tmp_path, save_scaled):
    from xport.serve.on_ray.application import specs

    for number in (1, 2, 3):
        save_scaled(tmp_path / f"a#b/{number}/net.onnx", scale=number)
    found = specs([parse_model(str(tmp_path / "a#b"))], ServerOptions(labels={"a#b": {"stable": 2}}, threads=3))
    assert [(s.version, s.deployment, s.threads) for s in found] == [(2, "a%23b-v2", 3), (3, "a%23b-v3", 3)]
    assert found[0].digest != found[1].digest


@pytest.mark.parametrize("kind", ["ParityError", "UnreadableModelError", "XportError", "ConversionError"])
def test_an_error_survives_a_quotation(kind):
    sent = getattr(errors, kind)("It's «wrong»:\nvery", "Do this.")
    quoted = f"ray::Replica died\n  RuntimeError: {spec.mark(sent)}\n  at line 7"
    found = spec.marked_error(quoted)
    assert type(found) is type(sent)
    assert (found.message, found.fix) == (sent.message, sent.fix)


def test_a_text_without_an_error_has_none():
    assert spec.marked_error("RuntimeError: out of memory") is None


def made(path, **changes):
    return spec.ModelSpec("net", 1, str(path), replica.source_digest(path), **changes)


def opening_fails(wanted):
    with pytest.raises(RuntimeError) as caught:
        replica.ModelReplica(wanted)
    found = spec.marked_error(str(caught.value))
    assert isinstance(found, XportError)
    return found


def test_a_replica_refuses_what_is_not_the_proven_model(tmp_path, save_scaled):
    pytest.importorskip("ray.serve")
    path = save_scaled(tmp_path / "net.onnx")
    wanted = made(path)
    assert opening_fails(made(path, written_by="0.0")).message.endswith("the command that serves has 0.0.")
    save_scaled(path, scale=5.0)
    changed = opening_fails(wanted)
    assert isinstance(changed, ParityError)
    assert "content differs" in changed.message
    path.unlink()
    gone = opening_fails(wanted)
    assert isinstance(gone, UnreadableModelError)
    assert "every machine" in gone.fix
    wrong = opening_fails(made(save_scaled(tmp_path / "wrong.onnx", wrong=True)))
    assert isinstance(wrong, ParityError)
    assert "no longer gives" in wrong.message
    bare = opening_fails(made(save_scaled(tmp_path / "bare.onnx", golden=False), require_proof=True))
    assert "no golden inputs" in bare.message


def portion(x, key="k", rows=None):
    return spec.Portion("serving_default", {"x": x}, key, len(x) if rows is None else rows)


def test_requests_that_came_together_are_answered_each_its_own(tmp_path, save_scaled):
    opened = open_checked(save_scaled(tmp_path / "net.onnx"))
    wrong = np.zeros((1, 3), np.float32)  # what no front end lets through: the model itself must not harm neighbours
    together = [portion(X[:1]), portion(X, None), portion(wrong), portion(X), portion(X[:0])]
    found = replica.answer(opened, together)
    assert isinstance(found[2], ServingError)
    for index, expected in {0: X[:1] * 2, 1: X * 2, 3: X * 2, 4: X[:0] * 2}.items():
        np.testing.assert_array_equal(found[index]["y"], expected)


def test_rows_that_depend_on_each_other_never_meet(tmp_path, save_nodes):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    path = tmp_path / "net.onnx"
    save_nodes(path, nodes)
    opened = open_checked(path)
    endpoint = opened.card.endpoints["serving_default"]
    assert not endpoint.batchable
    assert "depends on the rows beside it" in endpoint.alone_because


def test_shared_memory_is_not_written_to(tmp_path, save_scaled):
    opened = open_checked(save_scaled(tmp_path / "net.onnx"))
    x = X.copy()
    x.flags.writeable = False
    np.testing.assert_array_equal(replica.answer(opened, [portion(x)])[0]["y"], X * 2)


class Raw:
    """Starlette's request, as far as it is used."""

    method = "POST"

    def __init__(self, chunks, headers=(), pause=0.0):
        from starlette.datastructures import Headers

        self.headers = Headers(dict(headers))
        self.scope = {"path": "/v1/a b", "raw_path": b"/v1/a%20b?q=1"}
        self.chunks, self.pause = chunks, pause

    async def stream(self):
        for chunk in self.chunks:
            await asyncio.sleep(self.pause)
            yield chunk


def read(chunks, headers=(), *, max_body=1000, pause=0.0):
    pytest.importorskip("ray.serve")
    from xport.serve.on_ray.ingress import AsgiRequest

    request = AsgiRequest(Raw(chunks, headers, pause), max_body=max_body, timeout=0.2)
    assert request.path == "/v1/a%20b"
    return asyncio.run(request.body())


TEXT = b"abc" * 300


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("X-GZIP", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
    ],
    ids=["identity", "gzip", "X-GZIP", "deflate"],
)
def test_bodies_are_decompressed(encoding, data):
    assert read([data[:5], data[5:], b""], {"Content-Encoding": encoding}, max_body=900) == TEXT


@pytest.mark.parametrize(
    ("chunks", "headers", "code"),
    [
        ([b"abc"], {"content-length": "1001"}, "PAYLOAD_TOO_LARGE"),
        ([b"a" * 600, b"a" * 600], {}, "PAYLOAD_TOO_LARGE"),
        ([gzip.compress(bytes(10**7))], {"content-encoding": "gzip"}, "PAYLOAD_TOO_LARGE"),
        ([gzip.compress(TEXT)[:-4]], {"content-encoding": "gzip"}, "INVALID_ARGUMENT"),
        ([gzip.compress(TEXT) + b"more"], {"content-encoding": "gzip"}, "INVALID_ARGUMENT"),
        ([b"nonsense"], {"content-encoding": "deflate"}, "INVALID_ARGUMENT"),
        ([b"abc"], {"content-encoding": "br"}, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
def test_bodies_that_are_refused(chunks, headers, code):
    with pytest.raises(ServingError) as caught:
        read(chunks, headers)
    assert caught.value.code == code


def test_a_slow_body_is_given_up():
    with pytest.raises(ServingError) as caught:
        read([b"a"], pause=5)
    assert caught.value.code == "REQUEST_TIMEOUT"


class Handle:
    """Ray's handle of a deployment whose replicas do what they are told."""

    def __init__(self, *outcomes):
        self.outcomes, self.asked = list(outcomes), []
        self.predict = self.card = self

    async def remote(self, *asked):
        self.asked += asked
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception) and not isinstance(outcome, ServingError):
            raise outcome
        if outcome == "hang":
            await asyncio.sleep(60)
        return outcome


def ask(opened, *outcomes):
    from xport.serve.on_ray.remote import RemoteVersion

    handle = Handle(opened.card, *outcomes)
    version = RemoteVersion("net", 1, handle, timeout=0.2, max_queue=7)

    async def scenario():
        await version.learn()
        return await version.predict({"x": X})

    try:
        return asyncio.run(scenario()), handle.asked
    except ServingError as error:
        return error.code, handle.asked


def test_what_befalls_a_replica_has_its_code(tmp_path, save_scaled):
    exceptions, serve = pytest.importorskip("ray.exceptions"), pytest.importorskip("ray.serve.exceptions")
    opened = open_checked(save_scaled(tmp_path / "net.onnx"))
    dead, fine = exceptions.ActorDiedError(), {"y": X}
    found, asked = ask(opened, dead, fine)
    assert found is fine
    assert [p.key is None for p in asked] == [False, True], "after a death, alone: who killed it harms nobody else"
    assert ask(opened, dead, dead)[0] == "UNAVAILABLE"
    assert ask(opened, serve.BackPressureError(7, 7))[0] == "RESOURCE_EXHAUSTED"
    assert ask(opened, exceptions.NodeDiedError("gone"))[0] == "UNAVAILABLE"
    assert ask(opened, serve.RayServeException("shutting down"))[0] == "UNAVAILABLE"
    assert ask(opened, exceptions.RayTaskError("predict", "trace", ValueError("x")))[0] == "INTERNAL"
    assert ask(opened, ServingError("no", code="INVALID_ARGUMENT"))[0] == "INVALID_ARGUMENT"
    assert ask(opened, "hang")[0] == "DEADLINE_EXCEEDED"
