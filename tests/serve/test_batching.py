"""The queue: who waits, who runs together, who is refused."""

import asyncio

import numpy as np
import pytest

from xport.errors import ServingError
from xport.serve.embedded.batching import BatchQueue, Item, concatenate, split


def item(rows=1, key="k", value=0.0):
    loop = asyncio.get_running_loop()
    x = np.full((rows, 2), value, np.float32)
    return Item("s", {"x": x}, key, rows, loop.create_future(), loop.time(), loop.time() + 60)


def queue(**settings):
    return BatchQueue(**{"max_batch": 8, "max_delay": 0.2, "max_queue": 100} | settings)


def test_a_lone_request_does_not_wait():
    async def scenario():
        waiting = queue(max_delay=60)
        waiting.put(item())
        async with asyncio.timeout(5):
            return len(await waiting.get(expected=1))

    assert asyncio.run(scenario()) == 1


def test_requests_are_put_together_up_to_the_limit_in_order():
    async def scenario():
        waiting = queue()
        items = [item(3, value=i) for i in range(4)]
        for one in items:
            waiting.put(one)
        return items, [await waiting.get(1), await waiting.get(1)]

    items, batches = asyncio.run(scenario())
    assert batches == [items[:2], items[2:]]


def test_other_keys_run_apart_and_nothing_is_lost():
    async def scenario():
        waiting = queue()
        for key in "abab":
            waiting.put(item(key=key))
        return [[i.key for i in await waiting.get(1)] for _ in range(2)]

    assert asyncio.run(scenario()) == [["a", "a"], ["b", "b"]]


def test_what_has_no_key_runs_alone():
    async def scenario():
        waiting = queue()
        for _ in range(3):
            waiting.put(item(key=None))
        return [len(await waiting.get(3)) for _ in range(3)]

    assert asyncio.run(scenario()) == [1, 1, 1]


def test_a_large_request_is_not_cut():
    async def scenario():
        waiting = queue()
        waiting.put(item(20))
        waiting.put(item(1))
        return [[i.rows for i in await waiting.get(1)] for _ in range(2)]

    assert asyncio.run(scenario()) == [[20], [1]]


def test_a_worker_waits_for_those_who_are_expected():
    async def scenario():
        waiting = queue(max_delay=60)
        waiting.put(item())
        getting = asyncio.create_task(waiting.get(expected=3))
        await asyncio.sleep(0.01)
        assert not getting.done()
        waiting.put(item())
        waiting.put(item())
        async with asyncio.timeout(5):
            return len(await getting)

    assert asyncio.run(scenario()) == 3


def test_it_waits_no_longer_than_allowed():
    async def scenario():
        waiting = queue(max_delay=0.05)
        waiting.put(item())
        async with asyncio.timeout(5):
            return len(await waiting.get(expected=3))

    assert asyncio.run(scenario()) == 1


def test_a_full_queue_refuses():
    async def scenario():
        waiting = queue(max_queue=2)
        waiting.put(item())
        waiting.put(item())
        with pytest.raises(ServingError, match="queue is full") as caught:
            waiting.put(item())
        assert caught.value.code == "RESOURCE_EXHAUSTED"

    asyncio.run(scenario())


def test_who_has_left_makes_room_and_is_not_run():
    async def scenario():
        waiting = queue(max_queue=2)
        gone, stays, comes = item(), item(), item()
        waiting.put(gone)
        waiting.put(stays)
        gone.future.cancel()
        waiting.put(comes)
        return await waiting.get(1) == [stays, comes]

    assert asyncio.run(scenario())


def test_split_undoes_concatenate():
    async def scenario():
        batch = [item(2, value=1), item(1, value=2), item(3, value=3)]
        together = concatenate(batch)
        assert together["x"].shape == (6, 2)
        return batch, split(together, batch)

    batch, parts = asyncio.run(scenario())
    for one, part in zip(batch, parts, strict=True):
        np.testing.assert_array_equal(part["x"], one.inputs["x"])


def test_outputs_without_a_row_for_each_row_are_not_split():
    async def scenario():
        batch = [item(1), item(1)]
        return split({"y": np.zeros(3)}, batch), split({"y": np.zeros(())}, batch)

    assert asyncio.run(scenario()) == (None, None)
