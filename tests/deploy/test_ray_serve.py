"""`xport serve --engine ray` on a cluster of two nodes on this machine, asked as the embedded server is."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings

import numpy as np
import onnx
import psutil
import pytest
from onnx import numpy_helper

import xport
from tests.protocol import models, table
from tests.protocol.test_tf_rest import same
from tests.protocol.test_tf_rest import send as send_tf
from tests.protocol.test_v2_rest import BAD, GOOD, INFER, X_BYTES
from tests.protocol.test_v2_rest import send as send_v2
from xport.errors import ParityError, ServingError, UsageError
from xport.formats import Format
from xport.serve.launching.process import get_json

pytestmark = [
    pytest.mark.slow(turn=6, turns=10),  # together, or each would start a cluster on a day of its own
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]
SECONDS = 300  # until a server is ready; Ray starts a dozen processes, and machines are busy


QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "ORT_DISABLE_TELEMETRY": "1"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RayServer:
    """``xport serve --engine ray`` as a user starts it."""

    def __init__(self, *arguments, port=None):
        self.port = port or free_port()
        self.mark = uuid.uuid4().hex  # in the environment of everything that it starts
        command = [sys.executable, "-m", "xport", "serve", *map(str, arguments), "--engine", "ray", "--json"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**{k: v for k, v in os.environ.items() if k not in QUIET}, "XPORT_TEST_MARK": self.mark},
        )

    def wait_ready(self):
        timer = threading.Timer(SECONDS, self.process.terminate)
        timer.start()
        lines = []
        while (line := self.process.stdout.readline()) and line.rstrip() != "}":
            lines.append(line)
        timer.cancel()
        assert line, "".join(lines) + self.process.stderr.read()
        self.told = json.loads("".join(lines) + "}")
        self.url = self.told["url"]
        return self

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait_ended(120)

    def wait_ended(self, seconds=SECONDS):
        try:
            self.out, self.err = self.process.communicate(timeout=seconds)
        finally:
            self.process.kill()
        return self.process.returncode

    def left(self):
        """The processes that it started and that still run."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("XPORT_TEST_MARK") == self.mark and process.status() != "zombie":
                    found.append(process)
        return found


@contextlib.contextmanager
def served(*arguments):
    server = RayServer(*arguments)
    try:
        yield server.wait_ready()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return models.write_models(tmp_path_factory.mktemp("models"), Format.ONNX)


@pytest.fixture(scope="module")
def cluster(add_node):
    """Two nodes; one test loses the second. The test itself is connected to it."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.serve")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Two proxies on one machine cannot have the same port.
        patch.setenv("RAY_SERVE_WORKER_PROXY_HTTP_PORT", str(free_port()))
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 10**8, "num_cpus": 4}
        made = Cluster(initialize_head=False)
        try:
            add_node(made, include_dashboard=False, **small)
            made.second = add_node(made, **small)
            made.wait_for_nodes(timeout=240)
            ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def applications():
    from ray import serve

    return serve.status().applications


@pytest.fixture(scope="module")
def server(cluster, paths):
    named = [f"{name}={path}" for name, path in paths.items()]
    with served(*named, "--ray-address", cluster.address, "--replicas", "2", "--label", "tiny:stable=1") as started:
        yield started


@pytest.fixture(scope="module")
def embedded(paths):
    """The embedded server with the same models."""
    from tests.protocol.conftest import running

    with running(*[f"{name}={path}" for name, path in paths.items()], "--no-grpc") as started:
        yield started


def test_it_says_what_runs(server, cluster):
    assert (server.told["engine"], server.told["models"]) == ("ray", ["tiny", "pair"])
    notes = "\n".join(server.told["notes"])
    assert "closed network" in notes
    assert "tiny version 1: 2 golden cases pass in each replica." in notes
    app = applications()[server.told["application"]]
    running = {name: d.replica_states for name, d in app.deployments.items()}
    assert running == {"tiny-v1": {"RUNNING": 2}, "pair-v1": {"RUNNING": 2}, "ingress": {"RUNNING": 2}}


def test_every_rule_of_tf_servings_rest(server):
    wrong = []
    for row in table.ROWS:
        status, content_type, answer = send_tf(server.url, row)
        wanted = row.want if row.want is not None else {"error": row.error + row.more}
        if (status, content_type) != (row.status, "application/json") or not same(answer, wanted):
            wrong.append((row.rule, status, answer))
    assert not wrong


def test_v2_answers_byte_for_byte_as_the_embedded_server(server, embedded):
    raw = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}]}
    head = json.dumps(raw | {"parameters": {"binary_data_output": True}})
    length = {"Inference-Header-Content-Length": str(len(head))}
    asked = [("POST", path, body, {}) for _, path, body, *_ in (*GOOD, *BAD)]
    asked += [("POST", INFER, head.encode() + X_BYTES, length)]
    asked += [("GET", path, None, {}) for path in ("/v2", "/v2/health/ready", "/v2/models/pair", "/nothing", "/v1/x")]
    asked += [("PUT", INFER, b"{}", {}), ("POST", INFER, b"nonsense", {"Content-Encoding": "gzip"})]
    wrong = []
    for request in asked:
        theirs, ours = send_v2(embedded, *request), send_v2(server, *request)
        same_type = theirs[2]["Content-Type"] == ours[2]["Content-Type"]
        close = request[3].get("Content-Encoding") and theirs[0] == ours[0]  # zlib's words, through other libraries
        if not (close or (theirs[:2] == ours[:2] and same_type)):
            wrong.append((request, theirs[:2], ours[:2]))
        assert ours[2]["X-Request-Id"]
    assert not wrong


def test_many_at_once_each_get_their_own(server, embedded):
    """Batches of many sizes, a bad request among them."""
    rng = np.random.default_rng(3)
    inputs = [rng.integers(-8, 8, (int(rng.integers(1, 9)), 4)).astype(np.float32) / 2 for _ in range(60)]
    inputs[::20] = [np.zeros((2, 5), np.float32)] * 3
    found = [None] * len(inputs)

    def work(first):
        with xport.Client(server.url, "tiny") as client:
            for i in range(first, len(inputs), 6):
                try:
                    found[i] = client({"x": inputs[i]})["y"]
                except ServingError as error:
                    found[i] = error.code

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with xport.Client(embedded.url, "tiny") as client:
        for i, x in enumerate(inputs):
            if i % 20 == 0:
                assert found[i] == "INVALID_ARGUMENT"
            else:
                np.testing.assert_array_equal(found[i], client({"x": x})["y"])


def test_a_second_one_at_the_same_place_is_refused(server, cluster, paths):
    for port, words in ((server.port, "is served at / on"), (None, "runs on this cluster already")):
        second = RayServer(paths["tiny"], "--ray-address", cluster.address, port=port)
        assert second.wait_ended() == UsageError.exit_code, second.err
        assert words in second.err
    assert list(applications()) == [server.told["application"]]


def lost_replicas(cluster):
    """How many replicas of the tiny model the second node holds."""
    from ray._private.state import actors

    there = [a for a in actors().values() if a["State"] == "ALIVE" and a["Address"]["NodeID"] == cluster.second.node_id]
    return sum("tiny-v1" in f"{a.get('ActorClassName')} {a['Name']}" for a in there)


def test_a_lost_node_costs_time_only(server, cluster):
    """No answer is wrong, all are answered in the end, and what failed on the way failed cleanly."""
    x = np.arange(32, dtype=np.float32).reshape(8, 4) / 2
    stop, failures, wrong, answered = threading.Event(), [], [], []

    def work(worker):
        with xport.Client(server.url, "tiny", retries=8, timeout=20) as client:
            while not stop.is_set():
                rows = x[: 1 + (len(answered) + worker) % 8]
                while True:
                    try:
                        y = client({"x": rows})["y"]
                        break
                    except ServingError as error:
                        failures.append(error)
                (answered if np.array_equal(y, rows @ models.WEIGHT) else wrong).append(len(rows))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    assert lost_replicas(cluster) >= 1
    cluster.remove_node(cluster.second, allow_graceful=False)
    before = len(answered)
    time.sleep(15)
    stop.set()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong
    assert before > 0
    assert len(answered) > before, "it answers after the loss"
    codes = {error.code for error in failures}
    assert codes <= {"UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}


def test_only_its_own_application_is_deleted(server, cluster, tmp_path):
    from ray import serve

    class Other:
        async def __call__(self, request):
            return "here"

    other = serve.deployment(Other).options(ray_actor_options={"num_cpus": 0}).bind()
    serve.run(other, name="other", route_prefix="/other")
    assert server.stop() == 0
    assert "Traceback" not in server.err
    assert list(applications()) == ["other"]
    path = models.write_models(tmp_path, Format.ONNX)["tiny"]
    tampered = onnx.load(path)
    tampered.graph.initializer[0].CopyFrom(numpy_helper.from_array(models.WEIGHT + 1, "w"))
    onnx.save(tampered, path)
    bad = RayServer(path, "--ray-address", cluster.address, port=server.port)
    assert bad.wait_ended() == ParityError.exit_code, bad.err
    assert "no longer gives what it gave" in bad.err
    assert list(applications()) == ["other"]
    assert get_json(f"{server.url}/v1/models/tiny")[0] == 404


def test_a_cluster_of_its_own_ends_with_it(paths):
    limits = ("--max-delay", "5s", "--timeout", "500ms", "--max-body", "1KB")
    with served(paths["tiny"], "--autoscale", "1:2", *limits) as own:
        assert get_json(f"{own.url}/v1/models/tiny")[0] == 200
        for rows, status, words in ((1, 504, "deadline of 0.5 s"), (1000, 413, "larger than 1000 bytes")):
            found, _, answer = send_tf(own.url, table.Row("", "/tiny:predict", {"instances": [[1, 2, 3, 4]] * rows}))
            assert (found, words in answer["error"]) == (status, True), answer
        names = {process.name() for process in own.left()}
        assert names & {"raylet", "gcs_server"}
        environments = [process.environ() for process in own.left() if "ServeReplica" in " ".join(process.cmdline())]
        assert environments
        assert all(environment.items() >= QUIET.items() for environment in environments)
        assert own.stop() == 0
    assert "Traceback" not in own.err
    assert own.left() == []


def test_it_ends_when_all_its_processes_are_signalled_at_once(paths):
    """As service managers do: Ray's daemons are gone before anybody could be asked to delete the application."""
    with served(paths["tiny"]) as own:
        os.killpg(own.process.pid, signal.SIGTERM)
        assert own.wait_ended() == 0
    assert own.left() == []
