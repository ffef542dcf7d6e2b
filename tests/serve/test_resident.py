"""Models in the server's own process: ``--workers 0``."""

import asyncio
import json
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from xport.errors import ParityError, ServingError
from xport.serve.embedded.resident import ResidentModel

X = np.array([[1, 2]], np.float32)


@pytest.fixture
def watched(monkeypatch):
    """Calls ``hook(inputs)`` before each run, and keeps the names of the threads that ran."""
    threads = []

    def watch(hook=lambda inputs: None):
        from xport.serve.embedded.opened import OpenedModel

        run = OpenedModel.run

        def wrapped(self, signature, inputs):
            threads.append(threading.current_thread().name)
            hook(inputs)
            return run(self, signature, inputs)

        monkeypatch.setattr(OpenedModel, "run", wrapped)
        return threads

    return watch


def test_short_runs_stay_on_the_event_loop_and_long_ones_leave_it(tmp_path, save_scaled, with_store, watched):
    """Also when a model takes long for large inputs only, and when what was short becomes long."""
    slow_from = [4]
    threads = watched(lambda inputs: time.sleep(0.005 if len(inputs["x"]) >= slow_from[0] else 0))

    ran = {}

    async def ask(servable, kind, rows):
        threads.clear()
        for _ in range(20):  # a run may take long by accident
            await servable.predict({"x": np.ones((rows, 2), np.float32)})
        ran.setdefault(kind, []).extend(threads)

    async def scenario(store):
        servable = store.find("net")
        for rows in (1, 1, 2, 2, 4, 4, 2, 1):
            await ask(servable, rows, rows)
        slow_from[0] = 1
        await ask(servable, "slow", 1)

    with_store([save_scaled(tmp_path / "net.onnx")], scenario, workers=0, max_batch=4)
    assert ran[1][-20:].count("MainThread") > 10
    assert ran[2][-20:].count("MainThread") > 10
    assert set(ran[4]) == {"model"}
    assert ran["slow"].count("model") >= 19  # the first one was expected to be short


def test_a_long_run_does_not_keep_the_others_waiting(tmp_path, save_scaled, with_store, watched):
    go_on = threading.Event()
    watched(lambda inputs: go_on.wait(30) if inputs["x"][0, 0] == 7 else None)

    async def scenario(store):
        slow, quick = store.find("slow"), store.find("quick")
        held = asyncio.create_task(slow.predict({"x": X * 7}))
        answer = await quick.predict({"x": X})
        assert not held.done()
        go_on.set()
        return answer, await held

    models = [save_scaled(tmp_path / "slow.onnx"), save_scaled(tmp_path / "quick.onnx")]
    answer, held = with_store(models, scenario, workers=0)
    np.testing.assert_array_equal(answer["y"], X * 2)
    np.testing.assert_array_equal(held["y"], X * 14)


def test_a_deadline_is_kept_and_what_comes_after_is_answered(tmp_path, save_scaled, with_store, watched):
    go_on = threading.Event()
    watched(lambda inputs: go_on.wait(30) if inputs["x"][0, 0] == 7 else None)

    async def scenario(store):
        servable = store.find("net")
        with pytest.raises(ServingError, match=r"deadline of 0\.3 s") as caught:
            await servable.predict({"x": X * 7}, timeout=0.3)
        go_on.set()
        return caught.value.code, await servable.predict({"x": X}), servable.restarts

    code, answer, restarts = with_store([save_scaled(tmp_path / "net.onnx")], scenario, workers=0)
    assert (code, restarts) == ("DEADLINE_EXCEEDED", 0)
    np.testing.assert_array_equal(answer["y"], X * 2)


def test_an_error_of_the_model_is_an_internal_one(tmp_path, save_scaled, with_store, watched):
    def fail(inputs):
        if inputs["x"][0, 0] == 7:
            raise RuntimeError("out of luck")

    watched(fail)

    async def scenario(store):
        servable = store.find("net")
        with pytest.raises(ServingError, match="RuntimeError: out of luck") as caught:
            await servable.predict({"x": X * 7})
        return caught.value.code, await servable.predict({"x": X})

    code, answer = with_store([save_scaled(tmp_path / "net.onnx")], scenario, workers=0)
    assert code == "INTERNAL"
    np.testing.assert_array_equal(answer["y"], X * 2)


def test_a_model_that_writes_to_its_input_does_not_write_to_the_request(tmp_path, save_scaled, with_store, watched):
    def write(inputs):
        inputs["x"] += 1

    watched(write)
    body = X.tobytes()

    async def scenario(store):
        return await store.find("net").predict({"x": np.frombuffer(body, np.float32).reshape(1, 2)})

    answer = with_store([save_scaled(tmp_path / "net.onnx")], scenario, workers=0)
    np.testing.assert_array_equal(answer["y"], (X + 1) * 2)
    assert body == X.tobytes()


def test_a_model_that_fails_its_golden_inputs_is_not_served(tmp_path, save_scaled, with_store):
    before = threading.active_count()
    with pytest.raises(ParityError, match="no longer gives what it gave"):
        with_store([save_scaled(tmp_path / "net.onnx", wrong=True)], lambda store: asyncio.sleep(0), workers=0)
    assert threading.active_count() <= before


def test_a_new_version_takes_over_and_the_old_one_s_thread_ends(tmp_path, save_scaled, with_store):
    save_scaled(tmp_path / "net" / "1" / "model.onnx")

    async def scenario(store):
        first = await store.find("net").predict({"x": X})
        save_scaled(tmp_path / "net" / "2" / "model.onnx", scale=3.0)
        for _ in range(2):  # the first time it may still be being copied
            await store.refresh(store.models["net"])
        second = await store.find("net").predict({"x": X})
        return first, second, [t.name for t in threading.enumerate()].count("model")

    first, second, threads = with_store([tmp_path / "net"], scenario, workers=0)
    np.testing.assert_array_equal(first["y"], X * 2)
    np.testing.assert_array_equal(second["y"], X * 3)
    assert threads == 1


def test_a_run_without_end_does_not_keep_the_process(tmp_path, save_scaled, watched, monkeypatch):
    monkeypatch.setattr("xport.serve.embedded.resident._PATIENCE", 0.1)
    go_on = threading.Event()
    watched(lambda inputs: go_on.wait(30))

    async def scenario():
        model = ResidentModel()
        await model.open(save_scaled(tmp_path / "net.onnx", golden=False), batching=False)
        run = asyncio.create_task(model.run("serving_default", {"x": X}))
        await asyncio.sleep(0.05)
        run.cancel()
        started = time.monotonic()
        await model.close()
        await model.close()
        return time.monotonic() - started

    try:
        assert asyncio.run(scenario()) < 10
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "model")
    finally:
        go_on.set()


def test_the_command_serves_without_a_worker_and_ends_politely(tmp_path, save_scaled, running):
    with running(save_scaled(tmp_path / "net.onnx"), "--no-grpc", "--workers", "0") as server:
        tasks = Path(f"/proc/{server.process.pid}/task").glob("*/children")
        children = [task.read_text().split() for task in tasks]
        body = json.dumps({"instances": [[1, 2]]}).encode()
        with urllib.request.urlopen(f"{server.url}/v1/models/net:predict", body) as answer:
            assert json.load(answer) == {"predictions": [[2.0, 4.0]]}
        with urllib.request.urlopen(f"{server.url}/overview.json") as told:
            assert "in the server's process" in json.load(told)["models"][0]["about"]
        assert server.stop() == 0
    assert not any(children)
    assert "Traceback" not in "".join(server.lines)
