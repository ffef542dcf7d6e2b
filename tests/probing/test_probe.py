"""`xport.probe` against the embedded server and against stand-ins of others."""

import json
import os
import socket
import threading
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import xport
from xport.errors import InputsError, ParityError, ServingError, UsageError
from xport.serve.probing.consistency import DETERMINISM, INVARIANCE
from xport.serve.probing.results import Outcome

SCHEMAS = Path(__file__).parents[2] / "docs"


def probe(url, **options):
    return xport.probe(url, **{"runs": 0, "threads": 1, "batch": [1, 3], **options})


def outcomes(report):
    return {check.name: check.outcome for check in report.checks}


@pytest.mark.usefixtures("with_float64")
@pytest.mark.parametrize(
    ("path", "ways"),
    [
        ("/v1/models/net", ("tf-serving column", "tf-serving row", "tf-serving over gRPC")),
        ("/v2/models/net", ("v2 binary", "v2 json", "v2 over gRPC")),
    ],
)
def test_the_model_is_proven_in_every_way(server, nets, path, ways):
    report = probe(server.url + path, against=nets["net"], grpc_port=int(server.grpc.rpartition(":")[2]))
    assert report.endpoint.ways == ways
    assert set(outcomes(report).values()) == {Outcome.PASSED}
    assert sum(name.startswith("golden inputs") for name in outcomes(report)) == 3
    assert {cell.status.value for cell in report.validation.cells} == {"reference", "passed"}
    assert len({cell.artifact for cell in report.validation.cells}) == 4
    assert any(edge.set.endswith("large") for cell in report.validation.cells for edge in cell.edges)
    assert (report.passed, report.exit_code) == (True, 0)
    assert "are the same model as net.onnx" in report.verdict
    report.check()
    check_schema(report)


@pytest.mark.parametrize("path", ["/net", "/v1/models/net"])
def test_grpc_alone(server, nets, path):
    report = probe(f"grpc://{server.grpc}{path}", against=nets["net"])
    assert report.passed
    assert report.endpoint.protocol == ("v2" if path == "/net" else "tf-serving")


@pytest.mark.parametrize("name", ["tampered", "swapped"])
@pytest.mark.parametrize("path", ["/v1/models/", "/v2/models/"])
def test_another_model_behind_the_endpoint_is_caught(server, nets, name, path):
    report = probe(server.url + path + name, against=nets["net"])
    assert report.exit_code == 3
    golden = [check for check in report.checks if check.name.startswith("golden")]
    assert {check.outcome for check in golden} == {Outcome.FAILED}
    served = [cell for cell in report.validation.cells if cell.artifact != "net.onnx"]
    assert {cell.status.value for cell in served} == {"failed"}
    assert outcomes(report)[DETERMINISM] is Outcome.PASSED
    with pytest.raises(ParityError, match="did not pass"):
        report.check()
    check_schema(report)


@pytest.mark.usefixtures("with_float64")
def test_a_tampered_model_is_caught_without_golden_inputs(server, nets, tmp_path):
    import onnx

    model = onnx.load(nets["net"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    report = probe(f"{server.url}/v2/models/tampered", against=tmp_path / "bare.onnx")
    assert outcomes(report)["golden inputs"] is Outcome.SKIPPED
    assert report.exit_code == 3
    assert probe(f"{server.url}/v2/models/net", against=tmp_path / "bare.onnx").passed


def test_every_version_is_asked(versions, nets, running):
    with running(versions, "--label", "many:old=1", "--no-grpc") as server:
        report = probe(f"{server.url}/v1/models/many", against=nets["net"], versions=[1, 2])
        by_version = {
            cell.artifact.partition("versions/")[2][:1]: cell.status.value for cell in report.validation.cells
        }
        assert by_version == {"": "reference", "1": "passed", "2": "failed"}
        assert report.endpoint.asked_versions == ("1", "2")
        assert probe(f"{server.url}/v1/models/many/labels/old", against=nets["net"]).passed


def test_without_an_artifact_nothing_is_proven(server):
    report = probe(f"{server.url}/v1/models/tampered")
    assert report.passed
    assert outcomes(report) == {DETERMINISM: Outcome.PASSED, INVARIANCE: Outcome.PASSED}
    assert "nothing proves which model it is" in report.verdict
    assert report.to_json()["proven"] is False
    assert report.endpoint.tells_interface
    check_schema(report)


def test_a_server_that_answers_otherwise_in_row_form_disagrees_with_itself(standins, numpy_net):
    class Wrong(standins.TfServing):
        def answer(self, method, path, headers, body):
            status, kind, data, *more = super().answer(method, path, headers, body)
            if b'"instances"' in body:
                data = data.replace(b'"y"', b'"w"').replace(b'"z"', b'"y"').replace(b'"w"', b'"z"')
            return status, kind, data, *more

    with Wrong(numpy_net) as server:
        report = probe(f"{server.url}/v1/models/net")
        assert report.exit_code == 3
        assert {c.status.value for c in report.validation.cells if "(row)" in c.artifact} == {"failed"}


def test_a_random_server_is_told(standins, numpy_net):
    rng = np.random.default_rng()
    with standins.TfServing(lambda x: {k: v * rng.uniform(0.9, 1.1) for k, v in numpy_net(x).items()}) as server:
        report = probe(f"{server.url}/v1/models/net")
    assert outcomes(report)[DETERMINISM] is Outcome.FAILED
    assert report.validation is None
    assert report.exit_code == 3


def test_rows_that_depend_on_each_other_are_told(standins, numpy_net, nets):
    def centred(inputs):
        return {name: a - a.mean(axis=0) for name, a in numpy_net(inputs).items()}

    with standins.TfServing(centred) as server:
        report = probe(f"{server.url}/v1/models/net")
        assert outcomes(report)[INVARIANCE] is Outcome.FAILED
        assert "rows depend on each other" in next(c.reason for c in report.checks if c.name == INVARIANCE)
        # Against an artifact it is the comparison that decides.
        assert outcomes(probe(f"{server.url}/v1/models/net", against=nets["net"]))[INVARIANCE] is Outcome.NOTED


@pytest.mark.parametrize("name", ["Triton", "KServeV1", "TfServing"])
def test_other_servers(standins, numpy_net, nets, name):
    with getattr(standins, name)(numpy_net) as server:
        report = probe(server.url, model="net", against=nets["net"])
        assert report.passed, report.failures
        told = {"Triton": True, "KServeV1": False, "TfServing": True}[name]
        assert report.endpoint.tells_interface is told
        assert not any("versions/" in path for _, path in server.seen)
    with getattr(standins, name)(lambda x: {k: v * np.float32(1.001) for k, v in numpy_net(x).items()}) as server:
        assert probe(server.url, model="net", against=nets["net"]).exit_code == 3


@pytest.mark.usefixtures("with_float64")
def test_digits_that_a_server_leaves_out_are_no_failure(standins, numpy_net, nets):
    class Short(standins.KServeV1):
        digits = 6

    with Short(numpy_net) as server:
        report = probe(server.url, model="net", against=nets["net"], batch=[1, 8])
        assert report.passed, report.failures
        assert any("at most 6 digits" in note for a in report.validation.artifacts for note in a.notes)
    with Short(lambda x: {k: v * np.float32(1.001) for k, v in numpy_net(x).items()}) as server:
        assert not probe(server.url, model="net", against=nets["net"]).passed


def test_names_that_differ_are_shown_side_by_side_or_mapped(standins, numpy_net, nets, tmp_path):
    import onnx

    model = onnx.load(nets["net"])
    del model.metadata_props[:]
    for value in (*model.graph.input, *(i for node in model.graph.node for i in ())):
        value.name = "other"
    model.graph.node[0].input[0] = "other"
    onnx.save(model, tmp_path / "named.onnx")
    with standins.Triton(numpy_net) as server:
        with pytest.raises(UsageError, match=r"(?s)other:float32\[batch,8\].*x:float32\[batch,8\]") as caught:
            probe(server.url, model="net", against=tmp_path / "named.onnx")
        assert "--map other=x" in caught.value.fix
        assert probe(server.url, model="net", against=tmp_path / "named.onnx", names={"other": "x"}).passed


def test_your_own_inputs_go_to_the_server(server, nets):
    x = np.random.default_rng(3).standard_normal((5, 8)).astype(np.float32)
    report = xport.probe(f"{server.url}/v2/models/net", against=nets["net"], input_data={"x": x}, runs=0)
    assert report.passed
    assert {info.kind for info in report.validation.sets} == {"your inputs"}
    with pytest.raises(InputsError, match=r"nowhere\.npz does not exist"):
        probe(f"{server.url}/v2/models/net", input_data="nowhere.npz")


def test_a_model_that_is_not_there_is_told_with_those_that_are(server, standins, numpy_net):
    for url in (f"{server.url}/v1/models/foo", f"{server.url}/v2/models/foo"):
        with pytest.raises(UsageError, match=r"no model 'foo'.* It has net, swapped, tampered"):
            probe(url)
    with pytest.raises(UsageError, match="several models: net, swapped, tampered"):
        probe(server.url)
    with standins.Triton(numpy_net) as triton, pytest.raises(UsageError, match="It has net, other"):
        probe(triton.url, model="foo")
    with standins.TfServing(numpy_net) as serving, pytest.raises(UsageError, match="does not list its models"):
        probe(serving.url, model="foo")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((200, "text/html", b"<!doctype html><title>Welcome</title>"), "an HTML page"),
        ((404, "text/html", b"<html>nothing</html>"), "an HTML page"),
        ((401, "application/json", b'{"error": "who are you"}'), "401: who are you"),
        ((403, "text/plain", b"no"), "403: no"),
        ((302, "text/plain", b"", {"Location": "http://login"}), "moved to http://login"),
        (None, "does not answer"),
        ((200, "application/json", b"[]"), "speaks neither"),
    ],
)
@pytest.mark.parametrize("path", ["", "/v1/models/net", "/v2/models/net"])
def test_what_is_no_inference_server(standins, reply, words, path):
    with standins.Scripted(None) as server:
        server.reply = reply
        with pytest.raises(ServingError) as caught:
            probe(server.url + path, timeout=5)
    if path == "" or words != "speaks neither":
        assert words in str(caught.value)
    if reply and reply[0] in (401, 403):
        assert "--token-file" in caught.value.fix


def test_nobody_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match="nobody listens there"):
            probe(f"http://127.0.0.1:{port}/v1/models/net")
        with pytest.raises(ServingError, match="does not answer over gRPC"):
            probe(f"grpc://127.0.0.1:{port}/net", timeout=5)
    with pytest.raises(ServingError, match=r"the name nowhere\.invalid cannot be resolved"):
        probe("http://nowhere.invalid/v1/models/net")


def test_a_wrong_scheme_is_told(server):
    with pytest.raises(ServingError, match="TLS failed"):
        probe(server.url.replace("http:", "https:") + "/v1/models/net")
    with pytest.raises(ServingError, match="does not speak HTTP"):
        probe(f"http://{server.grpc}/v1/models/net")


def test_a_server_without_an_interface_needs_an_artifact(standins, numpy_net):
    with (
        standins.KServeV1(numpy_net) as server,
        pytest.raises(UsageError, match="does not tell what its model takes") as caught,
    ):
        probe(server.url, model="net")
    assert "--against" in caught.value.fix


def test_a_connection_that_was_closed_while_idle_is_opened_again(standins, numpy_net, nets):
    from xport.serve.clients.connection import Connection, Served

    with standins.TfServing(numpy_net) as server, Connection(Served(server.url, model="net")) as connection:
        x = {"x": np.ones((1, 8), np.float32)}
        before = connection.predict(x)
        (idle,) = connection._transport._idle
        idle.sock.shutdown(socket.SHUT_RDWR)
        np.testing.assert_array_equal(connection.predict(x)["y"], before["y"])


def test_a_token_is_needed_and_kept_out_of_the_report(nets, running, tmp_path, monkeypatch):
    from xport.cli.run import run

    (tmp_path / "token").write_text("a-very-secret-word\n")
    with running(nets["net"], "--token-file", tmp_path / "token") as server:
        with pytest.raises(ServingError, match="401") as caught:
            probe(f"{server.url}/v1/models/net")
        assert "--token-file" in caught.value.fix
        page, data = tmp_path / "page.html", tmp_path / "run.json"
        arguments = [
            "probe",
            f"{server.url}/v1/models/net",
            "--against",
            str(nets["net"]),
            "--runs",
            "0",
            "--batch",
            "1",
        ]
        arguments += [
            "--header",
            "Authorization: Bearer a-very-secret-word",
            "--report",
            str(page),
            "--json",
            str(data),
        ]
        arguments += ["--load", "2x300ms", "--grpc-port", server.grpc.rpartition(":")[2]]
        monkeypatch.setattr("sys.argv", ["xport", *arguments])
        assert run(arguments) == 0
        arguments[arguments.index("--header") : arguments.index("--header") + 2] = [
            "--token-file",
            str(tmp_path / "token"),
        ]
        assert run(arguments) == 0
    for path in (page, data):
        assert "a-very-secret-word" not in path.read_text()
    assert "--header 'Authorization: …'" in json.loads(data.read_text())["command"]


def check_schema(report):
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    own, other = (json.loads((SCHEMAS / f"{name}.schema.json").read_text()) for name in ("probe", "validate"))
    registry = {other["$id"]: other}
    from referencing import Registry, Resource

    resources = Registry().with_resources((key, Resource.from_contents(value)) for key, value in registry.items())
    jsonschema.Draft202012Validator(own, registry=resources).validate(document)


def test_the_page_stands_alone(server, nets, tmp_path):
    report = probe(f"{server.url}/v1/models/tampered", against=nets["net"], load=["2x400ms", "20rpsx500ms"], runs=6)
    report.write_page(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    for words in ("✗ It did not pass", "golden inputs (tf-serving column)", "2x400ms", "20rpsx500ms", "Matrix", "<svg"):
        assert words in text
    assert "<script" not in text
    assert "src=" not in text
    unproven = probe(f"{server.url}/v1/models/net")
    unproven.write_page(tmp_path / "page.html")
    assert "nothing proves which model it is" in (tmp_path / "page.html").read_text()


def test_the_command_line(server, nets, capsys, tmp_path):
    from xport.cli.run import run

    url = f"{server.url}/v1/models/"
    common = ["--runs", "0", "--batch", "1", "--json"]
    assert run(["probe", url + "net", "--against", str(nets["net"]), *common]) == 0
    assert json.loads(capsys.readouterr().out)["proven"] is True
    assert run(["probe", url + "tampered", "--against", str(nets["net"]), *common]) == 3
    assert json.loads(capsys.readouterr().out)["passed"] is False
    assert run(["probe", url + "foo", *common]) == 2
    assert run(["probe", "http://127.0.0.1:9/v1/models/net", *common]) == 1
    assert run(["probe", url + "net", "--load", "lots"]) == 2
    assert run(["probe", url + "net", "--header", "nonsense"]) == 2
    assert run(["probe", url + "net", "--against", str(tmp_path / "nothing.onnx")]) == 2
    capsys.readouterr()
    assert run(["probe", url + "net", "--runs", "0", "--batch", "1", "--load", "2x300ms"]) == 0
    shown = capsys.readouterr().out
    assert "nothing proves which model it is" in shown
    assert "2x300ms" in shown


def test_ctrl_c_gives_what_was_measured(server, nets):
    timer = threading.Timer(4, os.kill, (os.getpid(), 2))

    def tell(text):
        if text.startswith("load"):
            timer.start()

    report = probe(f"{server.url}/v1/models/net", batch=[1], load="2x60s", progress=tell)
    timer.join()
    assert report.interrupted
    assert report.exit_code == 130, report.failures
    assert "interrupted" in report.verdict
    (load,) = report.loads
    assert load.succeeded
    assert load.seconds < 55


def test_ctrl_c_before_anything_was_counted_is_no_failure(server, nets):
    def tell(text):
        if text.startswith("load"):
            threading.Timer(0.2, os.kill, (os.getpid(), 2)).start()

    report = probe(f"{server.url}/v1/models/net", batch=[1], load="2x60s", progress=tell)
    assert (report.interrupted, report.exit_code) == (True, 130), report.failures
