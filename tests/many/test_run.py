import json
import os
import signal
import subprocess
import sys
import time

import pytest

from xport.convert.many import api, carry_out, run
from xport.convert.many.local_store import LocalStore
from xport.convert.many.results import Status
from xport.errors import ConversionError, ParityError

THREE = "models: [{source: a.onnx, to: onnx}, {source: b.onnx, to: onnx}, {source: c.onnx, to: onnx}]"


def statuses(report):
    return {result.name: result.status.value for result in report.results}


def state(folder):
    """What a second run must not touch: content and age of every artifact."""
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.glob("*.onnx")}


def leftovers(folder):
    return list((folder / ".xport-many" / "work").iterdir()) + list(folder.glob(".*.xport"))


def test_every_model_is_converted_proven_and_found_again(plan, models):
    path = plan("default: {seed: 5}\nmodels: [{source: a.onnx, to: [onnx, {onnx: {output: deep/a.onnx, seed: 6}}]}]")
    report = api.convert_many(path, output="out", jobs=2)
    report.check()
    assert statuses(report) == {"a.onnx": "converted", "deep/a.onnx": "converted"}
    assert all(result.verified and result.route == ("onnx", "onnx") and result.size > 0 for result in report.results)
    from xport import proof
    from xport.formats import Format

    for name, seed in (("a.onnx", 5), ("deep/a.onnx", 6)):
        _, made, cases = proof.read(models / "out" / name, Format.ONNX)
        assert made.options["seed"] == seed
        assert cases
    again = api.convert_many(path, output="out")
    assert statuses(again) == {"a.onnx": "kept", "deep/a.onnx": "kept"}
    assert [r.route for r in again.results] == [r.route for r in report.results]
    assert json.loads(json.dumps(again.to_json()))["exit_code"] == 0


@pytest.mark.usefixtures("quick_jobs")
def test_one_bad_model_costs_only_itself(plan, models):
    for name in ("crash", "memory", "hang", "wrong", "bug"):
        (models / f"{name}.onnx").write_bytes((models / "a.onnx").read_bytes())
    names = ("crash", "a", "memory", "hang", "b", "wrong", "bug")
    lines = "\n".join(f"  - {{source: {name}.onnx, to: onnx}}" for name in names)
    report = api.convert_many(plan(f"default: {{timeout: 3}}\nmodels:\n{lines}\n"), output="out", jobs=3)
    assert [r.status.value for r in report.results] == [
        *("failed", "converted", "failed", "failed", "converted", "failed", "failed")
    ]
    texts = {r.name: r.error["message"] for r in report.failures}
    assert "SIGSEGV" in texts["crash.onnx"]
    assert "out of memory" in texts["memory.onnx"]
    assert "ran out of time" in texts["hang.onnx"]
    assert texts["wrong.onnx"] == "The numbers differ."
    assert "ZeroDivisionError" in texts["bug.onnx"]
    assert report.exit_code == 1
    assert leftovers(models / "out") == []
    with pytest.raises(ConversionError, match="5 of 7 conversions failed") as caught:
        report.check()
    for name in texts:
        assert name in caught.value.message


@pytest.mark.usefixtures("quick_jobs")
def test_failed_parity_alone_has_its_own_exit_code(plan, models):
    (models / "wrong.onnx").write_bytes((models / "a.onnx").read_bytes())
    report = api.convert_many(plan("models: [{source: wrong.onnx, to: onnx}, {source: a.onnx, to: onnx}]"))
    assert report.exit_code == 3
    assert (models / "converted" / "a.onnx").exists()
    with pytest.raises(ParityError):
        report.check()


@pytest.mark.usefixtures("quick_jobs")
@pytest.mark.parametrize("what", ["source", "option", "data", "version", "code"])
def test_what_changed_is_done_again(plan, models, monkeypatch, what):
    (models / "data.npz").write_bytes(b"1")
    (models / "many_code.py").write_text("a = 1")
    text = "models: [{source: a.onnx, to: onnx, seed: 1, input_data: data.npz, arch: 'many_code:a'}, "
    text += "{source: b.onnx, to: onnx}]"
    api.convert_many(plan(text), output="out").check()
    if what == "source":
        (models / "a.onnx").write_bytes((models / "c.onnx").read_bytes())
    if what == "data":
        (models / "data.npz").write_bytes(b"2")
    if what == "code":
        (models / "many_code.py").write_text("a = 2")
    if what == "version":
        from xport.convert.many import digest

        monkeypatch.setattr(digest, "__version__", "9")
    report = api.convert_many(plan(text.replace("seed: 1", "seed: 2") if what == "option" else text), output="out")
    assert statuses(report) == {"a.onnx": "converted", "b.onnx": "converted" if what == "version" else "kept"}


@pytest.mark.usefixtures("quick_jobs")
def test_what_xport_did_not_write_is_replaced_only_on_demand(plan, models):
    (models / "out").mkdir()
    (models / "out" / "a.onnx").write_text("somebody's")
    path = plan(THREE)
    report = api.convert_many(path, output="out")
    assert statuses(report) == {"a.onnx": "failed", "b.onnx": "converted", "c.onnx": "converted"}
    assert "--force" in report.failures[0].error["fix"]
    assert (models / "out" / "a.onnx").read_text() == "somebody's"
    (models / "out" / "b.onnx").write_text("changed")
    report = api.convert_many(path, output="out")
    assert "was changed since" in report.results[1].error["message"]
    assert (models / "out" / "b.onnx").read_text() == "changed"
    before = state(models / "out")["c.onnx"]
    report = api.convert_many(path, output="out", overwrite=True)
    assert statuses(report) == {"a.onnx": "converted", "b.onnx": "converted", "c.onnx": "kept"}
    assert state(models / "out")["c.onnx"] == before


@pytest.mark.usefixtures("quick_jobs")
def test_a_folder_is_replaced_whole(plan, models):
    for name, text in (("m", "1"), ("other", "2")):
        (models / name).mkdir()
        (models / name / "saved_model.pb").write_text(text)
    path = plan("models: [{source: m, to: savedmodel}]")
    api.convert_many(path, output="out").check()
    (models / "m" / "saved_model.pb").write_text("2")
    (models / "m" / "more").write_text("3")
    api.convert_many(path, output="out").check()
    assert sorted(p.name for p in (models / "out" / "m_savedmodel").iterdir()) == ["more", "saved_model.pb"]
    assert leftovers(models / "out") == []
    assert statuses(api.convert_many(path, output="out")) == {"m_savedmodel": "kept"}


class CutError(BaseException):
    """The end of the process, as far as anybody can tell."""


@pytest.mark.usefixtures("quick_jobs")
@pytest.mark.parametrize(
    ("step", "after"), [("first record", "converted"), ("move", "converted"), ("last record", "kept")]
)
def test_cut_off_at_any_step_nothing_finished_is_lost(plan, models, monkeypatch, step, after):
    path = plan("models: [{source: a.onnx, to: onnx}]")
    checked = api.read(path, output="out")
    mark = run.fingerprint(checked.tasks[0], "source")
    writes = []

    def write(self, name, record):
        writes.append(record["state"])
        if step == ("first record", "last record")[len(writes) - 1]:
            raise CutError
        original(self, name, record)

    def cut(*_):
        raise CutError

    original = LocalStore.write
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "write", write)
        if step == "move":
            patch.setattr(LocalStore, "publish", cut)
        with pytest.raises(CutError):
            carry_out.carry_out(checked.tasks[0], checked.output, mark)
    result = carry_out.carry_out(checked.tasks[0], checked.output, mark)
    assert result.status.value == after
    assert (models / "out" / "a.onnx").read_bytes() == (models / "a.onnx").read_bytes()
    assert carry_out.finished(LocalStore(models / "out"), checked.tasks[0], mark).status is Status.KEPT


RUN = "import sys; from xport.convert.many import api, carry_out; carry_out.JOB = 'many_jobs:convert_one'; "
RUN += "api.convert_many('plan.yaml', output='out', jobs=2).check()"


@pytest.mark.usefixtures("quick_jobs")
def test_a_killed_run_is_taken_up_where_it_was(plan, models, monkeypatch):
    names = [f"m{i:02}" for i in range(12)]
    for name in names:
        (models / f"{name}.onnx").write_bytes((models / "a.onnx").read_bytes() + name.encode())
    plan("models:\n" + "".join(f"  - {{source: {name}.onnx, to: onnx}}\n" for name in names))
    monkeypatch.setenv("MANY_JOBS_LOG", str(models / "log"))
    monkeypatch.setenv("MANY_JOBS_SECONDS", "0.3")
    kills, seen = 0, {}
    for _ in range(40):
        process = subprocess.Popen([sys.executable, "-c", RUN], cwd=models)
        deadline = time.monotonic() + 60
        while process.poll() is None and len(state(models / "out")) < len(seen) + 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        for name, what in state(models / "out").items():
            assert seen.setdefault(name, what) == what  # neither changed nor written again
    assert process.returncode == 0
    assert kills >= 3
    final = state(models / "out")
    assert {name: what for name, what in final.items() if name in seen} == seen
    assert {name: content for name, (content, _) in final.items()} == {
        f"{name}.onnx": (models / f"{name}.onnx").read_bytes() for name in names
    }
    assert leftovers(models / "out") == []


@pytest.mark.usefixtures("quick_jobs")
def test_ctrl_c_leaves_what_is_finished_and_nothing_half_made(plan, models):
    (models / "hang.onnx").write_bytes((models / "a.onnx").read_bytes())
    plan("models: [{source: a.onnx, to: onnx}, {source: hang.onnx, to: onnx}, {source: b.onnx, to: onnx}]")
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=models,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not ({"a.onnx", "b.onnx"} <= set(state(models / "out")) and leftovers(models / "out")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert sorted(state(models / "out")) == ["a.onnx", "b.onnx"]
    assert leftovers(models / "out") == []


@pytest.mark.usefixtures("quick_jobs")
def test_two_runs_at_once_do_not_disturb_each_other(plan, models, monkeypatch):
    plan(THREE)
    monkeypatch.setenv("MANY_JOBS_LOG", str(models / "log"))
    monkeypatch.setenv("MANY_JOBS_SECONDS", "1")
    runs = [subprocess.Popen([sys.executable, "-c", RUN], cwd=models) for _ in range(2)]
    assert [process.wait(timeout=60) for process in runs] == [0, 0]
    assert sorted((models / "log").read_text().split()) == ["a.onnx", "b.onnx", "c.onnx"]


@pytest.mark.usefixtures("quick_jobs")
def test_sources_and_results_behind_urls(plan, models):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/many-in/a.onnx", (models / "a.onnx").read_bytes())
    memory.pipe_file("/many-in/m/saved_model.pb", b"graph")
    memory.pipe_file("/many-in/m/variables/v", b"numbers")
    text = "output: memory://many-out\nmodels: [{source: 'memory://many-in/a.onnx', to: onnx}, "
    path = plan(text + "{source: 'memory://many-in/m', to: savedmodel}, {source: b.onnx, to: onnx}]")
    try:
        report = api.convert_many(path)
        report.check()
        assert next(r.path for r in report.results) == "memory://many-out/a.onnx"
        assert memory.cat_file("/many-out/a.onnx") == (models / "a.onnx").read_bytes()
        assert memory.cat_file("/many-out/m_savedmodel/variables/v") == b"numbers"
        assert set(statuses(api.convert_many(path)).values()) == {"kept"}
        memory.pipe_file("/many-in/a.onnx", (models / "b.onnx").read_bytes())
        memory.pipe_file("/many-out/m_savedmodel/variables/v", b"changed")
        memory.rm("/many-out/b.onnx")
        found = api.convert_many(path)
        assert statuses(found) == {"a.onnx": "converted", "m_savedmodel": "failed", "b.onnx": "converted"}
    finally:
        memory.rm("/many-in", recursive=True)
        memory.rm("/many-out", recursive=True)


@pytest.mark.usefixtures("quick_jobs")
@pytest.mark.parametrize("where", ["folder", "url"])
def test_weights_beside_a_model_belong_to_it(plan, models, where):
    import onnx
    from onnx.external_data_helper import convert_model_to_external_data

    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    plain = (models / "a.onnx").read_bytes()
    model = onnx.load(models / "a.onnx")
    convert_model_to_external_data(model, location="a.onnx.data", size_threshold=0)
    onnx.save(model, models / "a.onnx")
    source, output = "a.onnx", str(models / "out")
    if where == "url":
        source, output = "memory://many-in/a.onnx", "memory://many-out"
        for name in ("a.onnx", "a.onnx.data"):
            memory.pipe_file(f"/many-in/{name}", (models / name).read_bytes())
    path = plan(f"models: [{{source: '{source}', to: onnx}}]")
    system, root = fsspec.core.url_to_fs(output)
    try:
        assert statuses(api.convert_many(path, output=output)) == {"a.onnx": "converted"}
        assert system.cat_file(f"{root}/a.onnx.data") == (models / "a.onnx.data").read_bytes()
        assert statuses(api.convert_many(path, output=output)) == {"a.onnx": "kept"}
        system.pipe_file(f"{root}/a.onnx.data", b"x")
        assert statuses(api.convert_many(path, output=output)) == {"a.onnx": "failed"}
        (models / "a.onnx.data").unlink()
        (models / "a.onnx").write_bytes(plain)  # all in one file now
        if where == "url":
            memory.rm("/many-in/a.onnx.data")
            memory.pipe_file("/many-in/a.onnx", plain)
        assert statuses(api.convert_many(path, output=output, overwrite=True)) == {"a.onnx": "converted"}
        assert not system.exists(f"{root}/a.onnx.data")
        assert statuses(api.convert_many(path, output=output)) == {"a.onnx": "kept"}
    finally:
        for folder in ("/many-in", "/many-out"):
            if memory.exists(folder):
                memory.rm(folder, recursive=True)


def test_a_url_that_is_not_there_is_a_mistake_of_the_plan(plan):
    pytest.importorskip("fsspec")
    from xport.errors import UsageError

    with pytest.raises(UsageError, match=r":1:19: memory://no/such\.onnx does not exist"):
        api.read(plan("models: [{source: 'memory://no/such.onnx', to: onnx}]"))
    with pytest.raises(UsageError, match="cannot be opened"):
        api.read(plan("models: [{source: 'nonsense://no/such.onnx', to: onnx}]"))


def test_an_output_that_cannot_be_written_is_told_at_once(plan, models):
    from xport.errors import UsageError

    (models / "file").write_text("")
    with pytest.raises(UsageError, match="Cannot write"):
        api.convert_many(plan(THREE), output=models / "file")
    assert os.path.isfile(models / "file")
