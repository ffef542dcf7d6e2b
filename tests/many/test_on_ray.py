"""What is done about lost machines, with a stand-in for Ray; `test_ray.py` has a cluster."""

from types import SimpleNamespace

import pytest

from xport.convert.many.on_ray import MOST_ATTEMPTS, ray_performer
from xport.convert.many.plan import Task
from xport.convert.many.results import Status, TaskResult
from xport.errors import UsageError, WorkerError
from xport.formats import Format

TASK = Task("a.onnx", "/models/a.onnx", Format.ONNX, {})


class RayError(Exception):
    pass


class NodeDiedError(RayError):
    pass


class RayTaskError(RayError):
    pass


class TaskCancelledError(RayError):
    pass


class FakeRay:
    """Gives one answer an attempt: an error to raise, or a result."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, TaskCancelledError=TaskCancelledError)

    def __init__(self, *answers):
        self.answers, self.settings, self.calls, self.cancelled = list(answers), {}, [], []

    def remote(self, **settings):
        self.settings = settings
        return lambda function: SimpleNamespace(
            remote=lambda *args, **named: self.calls.append((args, named)) or object()
        )

    def get(self, reference):
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def cancel(self, reference, *, force):
        self.cancelled.append(force)


RESULT = TaskResult.of(TASK, Status.CONVERTED)


def test_a_task_that_is_lost_is_started_again_and_counted():
    ray = FakeRay(NodeDiedError("gone"), NodeDiedError("gone"), RESULT)
    perform, _ = ray_performer(ray, "/shared", overwrite=True)
    assert perform(TASK, "mark").attempts == 3
    assert ray.settings["max_retries"] == 0
    assert [args for args, _ in ray.calls] == [(TASK, "/shared", "mark")] * 3
    assert all(named["overwrite"] and named["version"] and named["cwd"] for _, named in ray.calls)


def test_a_task_that_is_lost_every_time_is_a_failure():
    perform, _ = ray_performer(FakeRay(*[NodeDiedError("node is dead")] * MOST_ATTEMPTS), "/shared")
    with pytest.raises(WorkerError, match=f"Lost {MOST_ATTEMPTS} times .*node is dead"):
        perform(TASK, "mark")


def test_an_error_of_the_task_itself_is_not_tried_again():
    ray = FakeRay(RayTaskError("ValueError: no"), RESULT)
    perform, _ = ray_performer(ray, "/shared")
    with pytest.raises(WorkerError, match="broke on its machine"):
        perform(TASK, "mark")
    assert len(ray.calls) == 1


def test_nothing_starts_after_a_stop():
    ray = FakeRay(RESULT)
    perform, stop = ray_performer(ray, "/shared")
    stop()
    with pytest.raises(WorkerError, match="Stopped"):
        perform(TASK, "mark")
    assert ray.calls == []


def test_the_memory_of_one_process_is_refused():
    with pytest.raises(UsageError, match="memory of one process"):
        ray_performer(FakeRay(), "memory://out")
