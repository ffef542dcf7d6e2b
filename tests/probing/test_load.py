"""Loads: what is counted, and from when."""

import threading

import pytest

import xport
from xport.errors import UsageError
from xport.serve.probing.load import parse_load
from xport.serve.probing.results import Outcome


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64x30s", (64, None, 30)),
        ("1x500ms", (1, None, 0.5)),
        ("8 x 2m", (8, None, 120)),
        ("200rpsx30s", (None, 200, 30)),
        ("0.5rps x 10", (None, 0.5, 10)),
        ("200rps for 30s", (None, 200, 30)),
    ],
)
def test_loads(text, expected):
    load = parse_load(text)
    assert (load.clients, load.rate, load.seconds) == expected


@pytest.mark.parametrize("text", ["", "64", "x30s", "0x30s", "64x0s", "1.5x3s", "64x30h", "-1x3s", "99999x1s"])
def test_no_loads(text):
    with pytest.raises(UsageError, match="Write 64x30s"):
        parse_load(text)


def put(url, load, **options):
    return xport.probe(url, **{"runs": 0, "batch": 1, "threads": 1, "load": load, **options})


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_closed_and_an_open_load(server, scheme):
    url = f"{server.url}/v2/models/net" if scheme == "http" else f"grpc://{server.grpc}/net"
    report = put(url, ["3x1s", "40rpsx1s"])
    closed, opened = report.loads
    good = "200" if scheme == "http" else "OK"
    assert (closed.kind, closed.clients, opened.kind, opened.rate) == ("closed", 3, "open", 40)
    for load in report.loads:
        assert dict(load.statuses) == {good: load.succeeded}
        assert load.latency.p50 <= load.latency.p90 <= load.latency.p99 <= load.p999 <= load.longest
        assert load.latency.p50_interval[0] <= load.latency.p50 <= load.latency.p50_interval[1]
        assert load.throughput > 0
    assert 38 <= opened.sent <= 42
    assert {check.outcome for check in report.checks if "under" in check.name} == {Outcome.PASSED}


def test_a_stall_counts_for_everybody_behind_it(standins, numpy_net):
    """Half a second at 100 a second: an honest open load has about fifty late answers, a closed one has one."""
    with standins.Stalling(numpy_net) as server:
        report = put(f"{server.url}/v1/models/net", "100rpsx2s")
    (load,) = report.loads
    late = sum(seconds > 0.1 for seconds in load.latency.samples)
    assert load.sent >= 190
    assert late >= 20
    assert load.longest > 0.4


def test_errors_are_counted_by_their_status(standins, numpy_net):
    with standins.Failing(numpy_net) as server:
        report = put(f"{server.url}/v1/models/net", "4x1s")
    (load,) = report.loads
    assert set(load.statuses) == {"200", "503"}
    assert load.statuses["503"] > 0
    assert load.succeeded == load.statuses["200"]
    assert "503" in report.verdict
    assert report.passed


def test_a_server_that_dies_is_counted_and_the_load_ends(standins, numpy_net):
    with standins.TfServing(numpy_net) as server:
        timer = threading.Timer(4.0, server.stop)

        def begun(text):
            if text.startswith("load"):
                timer.start()

        report = put(f"{server.url}/v1/models/net", "4x40s", progress=begun)
        timer.join()
    (load,) = report.loads
    assert load.succeeded
    assert load.sent > load.succeeded
    assert "it ended early" in load.early
    assert set(load.statuses) <= {"200", "connection refused", "connection broken"}


def test_wrong_answers_under_load_are_caught(standins, numpy_net):
    """Like a race between batches: one answer in ten is somebody else's."""
    calls = iter(range(10**9))

    def mixed(inputs):
        outputs = numpy_net(inputs)
        number = next(calls)
        return {k: v + (number > 60 and number % 10 == 0) for k, v in outputs.items()}

    with standins.TfServing(mixed) as server:
        report = put(f"{server.url}/v1/models/net", "4x1s")
    assert report.exit_code == 3
    assert any(c.name == "answers under 4x1s" and c.outcome is Outcome.FAILED for c in report.checks)


def test_a_load_without_any_answer_fails(standins, numpy_net):
    class Refusing(standins.TfServing):
        broken = False

        def answer(self, method, path, headers, body):
            if path.endswith(":predict") and self.broken:
                return 500, "text/plain", b"broken"
            return super().answer(method, path, headers, body)

    with Refusing(numpy_net) as server:

        def begun(text):
            server.broken = text.startswith("load")

        report = put(f"{server.url}/v1/models/net", "2x1s", progress=begun)
    assert report.exit_code == 3
    assert "no request was answered well" in report.verdict
