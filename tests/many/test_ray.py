"""The same plans on a cluster of two nodes on this machine."""

import threading
import time
import warnings

import pytest

from xport.convert.many import api
from xport.errors import UsageError

pytestmark = [
    pytest.mark.slow(turn=7, turns=10),  # together, or each would start a cluster on a day of its own
    pytest.mark.xdist_group("ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def cluster(add_node):
    """A cluster of two nodes that take two tasks each; the last test loses the second."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        small = {"object_store_memory": 10**8}
        made = Cluster(initialize_head=False)
        add_node(made, num_cpus=2, include_dashboard=False, **small)
        made.second = add_node(made, num_cpus=2, **small)
        made.wait_for_nodes(timeout=240)
        yield made
        made.shutdown()


def test_a_cluster_gives_what_this_machine_gives(plan, models, cluster):
    path = plan("models: [{source: a.onnx, to: onnx}, {source: b.onnx, to: onnx}, {source: broken.onnx, to: onnx}]")
    (models / "broken.onnx").write_bytes(b"nothing")
    report = api.convert_many(path, output="out", executor="ray", ray_address=cluster.address)
    assert [r.status.value for r in report.results] == ["converted", "converted", "failed"]
    assert report.results[2].error["type"] == "UnreadableModelError"
    assert all(r.verified for r in report.results[:2])
    again = api.convert_many(path, output="out")
    assert [r.status.value for r in again.results] == ["kept", "kept", "failed"]


def test_a_crash_on_a_node_costs_only_its_task(plan, models, cluster):
    (models / "killer.py").write_text("import os, signal\n\ndef build():\n    os.kill(os.getpid(), signal.SIGSEGV)\n")
    import torch

    torch.save(torch.nn.Linear(2, 2).state_dict(), models / "w.pt")
    text = "models: [{source: w.pt, to: onnx, arch: 'killer:build', inputs: 'x:float32[1,2]'}, "
    report = api.convert_many(
        plan(text + "{source: a.onnx, to: onnx}]"), output="out", executor="ray", ray_address=cluster.address
    )
    assert [r.status.value for r in report.results] == ["failed", "converted"]
    assert "SIGSEGV" in report.results[0].error["message"]
    assert [r.attempts for r in report.results] == [1, 1]


def test_a_cluster_of_ones_own_is_started_and_stopped(plan, models):
    ray = pytest.importorskip("ray")
    report = api.convert_many(plan("models: [{source: a.onnx, to: onnx, verify: false}]"), output="out", executor="ray")
    report.check()
    assert not ray.is_initialized()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere", "127.0.0.1:99999"])
def test_no_cluster_at_the_address_is_told(plan, models, address):
    pytest.importorskip("ray")
    path = plan("models: [{source: a.onnx, to: onnx}]")
    with pytest.raises(UsageError, match=r"No Ray cluster answers at|Malformed address"):
        api.convert_many(path, executor="ray", ray_address=address, output="out")


def test_memory_is_not_shared(plan, models):
    path = plan("models: [{source: a.onnx, to: onnx}]")
    with pytest.raises(UsageError, match="memory of one process"):
        api.convert_many(path, executor="ray", output="memory://out")


def test_a_lost_node_costs_time_only(plan, models, cluster):
    names = [f"m{i}" for i in range(5)]
    for i, name in enumerate(names):
        (models / f"{name}.onnx").write_bytes((models / f"{'abc'[i % 3]}.onnx").read_bytes())
    path = plan(
        "default: {verify: false}\nmodels:\n" + "".join(f"  - {{source: {name}.onnx, to: onnx}}\n" for name in names)
    )
    rooms = models / "out" / ".xport-many" / "work"
    lost = []

    def lose_a_node():
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and len(list(rooms.glob("*"))) < 4:  # both nodes are full then
            time.sleep(0.02)
        lost.extend(rooms.glob("*"))
        cluster.remove_node(cluster.second, allow_graceful=False)

    thread = threading.Thread(target=lose_a_node)
    thread.start()
    report = api.convert_many(path, output="out", executor="ray", ray_address=cluster.address)
    thread.join()
    report.check()
    assert len(lost) == 4
    assert [r.status.value for r in report.results] == ["converted"] * 5
    assert sum(r.attempts - 1 for r in report.results) in (1, 2)  # what the node was at
    assert max(r.attempts for r in report.results) == 2
    assert list(rooms.iterdir()) == []
