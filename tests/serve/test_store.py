"""Versions, workers and what happens when they fail."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from xport.errors import ParityError, ServingError, UnreadableModelError, UsageError
from xport.serve.embedded.catalogue import parse_model
from xport.serve.embedded.version import State

X = np.array([[1, 2]], np.float32)


def descendants():
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


OTHERS = set()
"""Processes of other tests in this process, which live on."""


@pytest.fixture(autouse=True)
def know_others():
    OTHERS.clear()
    OTHERS.update(descendants())


def children():
    """The processes that the running test has started."""
    return descendants() - OTHERS


def test_names_come_from_the_path_or_the_user(tmp_path, save_scaled):
    path = save_scaled(tmp_path / "net" / "3" / "model.onnx")
    assert (parse_model(str(path)).name, parse_model(f"other={path}").name) == ("model", "other")
    folder = parse_model(str(tmp_path / "net"))
    assert (folder.name, folder.versioned) == ("net", True)
    with pytest.raises(UsageError, match="cannot be a model's name"):
        parse_model(f"a/b={path}")
    with pytest.raises(UnreadableModelError, match="neither a SavedModel nor"):
        parse_model(str(tmp_path))


@pytest.mark.parametrize("workers", [1, 0])
def test_requests_run_together_give_what_each_gives_alone(tmp_path, save_scaled, with_store, workers):
    batches = []

    async def scenario(store):
        servable = store.find("net")
        servable._observe = lambda _, batch, __: batches.append(len(batch))
        inputs = [np.random.default_rng(i).standard_normal((1 + i % 3, 2)).astype(np.float32) for i in range(40)]
        alone = [await servable.predict({"x": x}) for x in inputs]
        together = await asyncio.gather(*(servable.predict({"x": x}) for x in inputs))
        return alone, together

    alone, together = with_store([save_scaled(tmp_path / "net.onnx")], scenario, workers=workers)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one["y"], other["y"])
    assert max(batches) > 4


@pytest.mark.parametrize("workers", [1, 0])
def test_a_model_whose_rows_mix_is_not_batched(tmp_path, save_nodes, with_store, workers):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]

    async def scenario(store):
        servable = store.find("net")
        answers = await asyncio.gather(*(servable.predict({"x": X * i}) for i in range(20)))
        return servable.card.endpoints["serving_default"], answers

    endpoint, answers = with_store([save_nodes(tmp_path / "net.onnx", nodes)], scenario, workers=workers)
    assert not endpoint.batchable
    assert "depends on the rows beside it" in endpoint.alone_because
    assert all((answer["y"] == 0).all() for answer in answers)


def test_a_fixed_batch_is_not_batched(tmp_path, save_scaled, with_store):
    async def scenario(store):
        return store.find("net").card.endpoints["serving_default"]

    endpoint = with_store([save_scaled(tmp_path / "net.onnx", batch=1)], scenario)
    assert "fixed" in endpoint.alone_because


@pytest.mark.parametrize("workers", [1, 0])
def test_one_that_the_model_refuses_does_not_harm_its_neighbours(tmp_path, save_nodes, with_store, workers):
    """Gather fails on an index out of range: the whole batch does, and then only the one at fault."""
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=7),
        helper.make_node("Gather", ["table", "i"], ["y"], axis=0),
    ]
    path = save_nodes(tmp_path / "net.onnx", nodes, constants={"table": np.arange(8, dtype=np.float32)})

    async def scenario(store):
        servable = store.find("net")
        assert servable.card.endpoints["serving_default"].alone_because == ""
        values = [np.full((1, 2), i % 8, np.float32) for i in range(12)]
        values[5][:] = 99
        calls = [servable.predict({"x": v}) for v in values]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = with_store([path], scenario, workers=workers)
    assert isinstance(results[5], ServingError)
    assert results[5].code == "INVALID_ARGUMENT"
    for i, result in enumerate(results):
        if i != 5:
            assert (result["y"] == i % 8).all()


def test_a_killed_worker_is_replaced_and_only_its_request_fails(tmp_path, save_scaled, with_store):
    async def scenario(store):
        servable = store.find("net")
        await servable.predict({"x": X})
        before = children()
        for pid in before:
            os.kill(int(pid), signal.SIGSTOP)
        held = asyncio.create_task(servable.predict({"x": X}))
        await asyncio.sleep(0.05)
        later = [asyncio.create_task(servable.predict({"x": X * i})) for i in range(5)]
        await asyncio.sleep(0.05)
        for pid in before:
            os.kill(int(pid), signal.SIGKILL)
        with pytest.raises(ServingError, match="died while it held") as caught:
            await held
        return caught.value.code, await asyncio.gather(*later), servable.restarts, before & children()

    code, later, restarts, left = with_store([save_scaled(tmp_path / "net.onnx")], scenario)
    assert (code, restarts, left) == ("UNAVAILABLE", 1, set())
    assert all((answer["y"] == X * i * 2).all() for i, answer in enumerate(later))


def test_a_deadline_is_kept_and_a_stuck_worker_is_replaced(tmp_path, save_scaled, with_store, monkeypatch):
    monkeypatch.setattr("xport.serve.embedded.replica._GRACE", 0.2)

    async def scenario(store):
        servable = store.find("net")
        for pid in children():
            os.kill(int(pid), signal.SIGSTOP)
        with pytest.raises(ServingError, match=r"deadline of 0\.3 s") as caught:
            await servable.predict({"x": X}, timeout=0.3)
        return caught.value.code, await servable.predict({"x": X})

    code, answer = with_store([save_scaled(tmp_path / "net.onnx")], scenario)
    assert code == "DEADLINE_EXCEEDED"
    assert (answer["y"] == X * 2).all()


def test_a_model_that_fails_its_golden_inputs_is_not_served(tmp_path, save_scaled, with_store):
    with pytest.raises(ParityError, match="no longer gives what it gave"):
        with_store([save_scaled(tmp_path / "net.onnx", wrong=True)], lambda store: asyncio.sleep(0))
    assert not children()


def test_a_model_without_proof_can_be_refused(tmp_path, save_scaled, with_store):
    path = save_scaled(tmp_path / "net.onnx", golden=False)
    with_store([path], lambda store: asyncio.sleep(0))
    with pytest.raises(UsageError, match="carries no golden inputs"):
        with_store([path], lambda store: asyncio.sleep(0), require_proof=True)


async def refreshed(store, name):
    """Two looks: files must stand still for one before they are loaded."""
    await store.refresh(store.models[name])
    await store.refresh(store.models[name])


def test_a_new_version_takes_over_and_the_old_one_leaves(tmp_path, save_scaled, with_store):
    save_scaled(tmp_path / "net" / "1" / "model.onnx", scale=2.0)

    async def scenario(store):
        old = store.find("net")
        save_scaled(tmp_path / "net" / "2" / "model.onnx", scale=3.0)
        await store.refresh(store.models["net"])
        assert store.find("net") is old  # it may still be being copied
        await store.refresh(store.models["net"])
        new = store.find("net")
        answer = await new.predict({"x": X})
        while old.state is not State.END:
            await asyncio.sleep(0.01)
        with pytest.raises(ServingError, match=r"Specific\(net, 1\)"):
            store.find("net", 1)
        return new.version, answer

    version, answer = with_store([tmp_path / "net"], scenario)
    assert version == 2
    assert (answer["y"] == X * 3).all()


def test_a_bad_new_version_changes_nothing_until_it_is_mended(tmp_path, save_scaled, with_store):
    save_scaled(tmp_path / "net" / "1" / "model.onnx", scale=2.0)

    async def scenario(store):
        path = save_scaled(tmp_path / "net" / "2" / "model.onnx", scale=3.0, wrong=True)
        await refreshed(store, "net")
        assert store.find("net").version == 1
        failed = store.models["net"].servables[2]
        assert failed.state is State.END
        assert "no longer gives" in str(failed.error)
        save_scaled(path, scale=3.0)
        os.utime(path, (1, 1))
        await refreshed(store, "net")
        return store.find("net").version

    assert with_store([tmp_path / "net"], scenario) == 2


def test_a_removed_version_gives_way_to_the_one_before(tmp_path, save_scaled, with_store):
    for version in (1, 2):
        save_scaled(tmp_path / "net" / str(version) / "model.onnx", scale=version)

    async def scenario(store):
        assert store.find("net").version == 2
        shutil.rmtree(tmp_path / "net" / "2")
        await refreshed(store, "net")
        return store.find("net").version, await store.find("net").predict({"x": X})

    version, answer = with_store([tmp_path / "net"], scenario)
    assert version == 1
    assert (answer["y"] == X).all()


def test_labelled_versions_stay(tmp_path, save_scaled, with_store):
    for version in (1, 2, 3):
        save_scaled(tmp_path / "net" / str(version) / "model.onnx", scale=version)

    async def scenario(store):
        await refreshed(store, "net")
        return sorted(store.models["net"].servables), store.find("net", label="stable").version

    assert with_store([tmp_path / "net"], scenario, labels={"net": {"stable": 1}}) == ([1, 3], 1)


def test_several_workers_share_the_work(tmp_path, save_scaled, with_store):
    async def scenario(store):
        servable = store.find("net")
        answers = await asyncio.gather(*(servable.predict({"x": X * i}) for i in range(50)))
        return len(children()), answers

    count, answers = with_store([save_scaled(tmp_path / "net.onnx")], scenario, workers=2, max_batch=1)
    assert count == 2
    assert all((answer["y"] == X * i * 2).all() for i, answer in enumerate(answers))
