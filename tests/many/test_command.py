import json

import pytest

PLAN = "models: [{source: a.onnx, to: onnx}, {source: wrong.onnx, to: onnx}]"


@pytest.fixture
def two(plan, models):
    (models / "wrong.onnx").write_bytes((models / "a.onnx").read_bytes())
    return plan(PLAN)


@pytest.mark.usefixtures("quick_jobs")
def test_lines_a_summary_and_a_file(call, two, models):
    code, out, _ = call("convert", "--many", two, "-o", "out", "--jobs", "1", "--json", "r.json")
    assert code == 3
    for words in ("[1/2] a.onnx   converted", "wrong.onnx   failed", "FAILED wrong.onnx (", "The numbers differ."):
        assert words in out
    assert out.splitlines()[-1].startswith("1 converted, 1 failed in ")
    found = json.loads((models / "r.json").read_text())
    assert [r["status"] for r in found["results"]] == ["converted", "failed"]
    assert found["results"][1]["error"]["type"] == "ParityError"
    code, out, _ = call("convert", "--many", two, "-o", "out", "--json")
    assert json.loads(out)["results"][0]["status"] == "kept"
    assert not (models / "out" / "wrong.onnx").exists()


def test_a_mistake_in_the_plan_starts_nothing(call, plan, models):
    code, _, err = call("convert", "--many", plan("models:\n  - source: a.onnx\n    to: onxx\n"), "-o", "out")
    assert code == 2
    assert "plan.yaml:3:9: Unknown format 'onxx'" in err
    assert not (models / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "onnx"], "--to does not go with --many"),
        (["a.onnx"], "SOURCE does not go with --many"),
        (["--opset", "17"], "--opset does not go with --many"),
        (["--ray-address", "x:1"], "Add --executor ray"),
        (["--json", "no/such/folder.json"], "does not exist"),
    ],
)
def test_options_that_do_not_fit_are_refused(call, two, models, arguments, words):
    code, _, err = call("convert", "--many", two, *arguments)
    assert code == 2
    assert words in err
    assert not (models / "converted").exists()


def test_options_of_plans_alone_are_refused(call, models):
    for arguments in (["--jobs", "2"], ["--executor", "ray"]):
        code, _, err = call("convert", "a.onnx", "--to", "onnx", *arguments)
        assert (code, f"{arguments[0]} is for --many" in err) == (2, True)
    assert call("convert", "a.onnx")[0] == 2
    assert call("convert", "--to", "onnx")[0] == 2


@pytest.mark.usefixtures("quick_jobs")
def test_the_table_fits_the_terminal(two, monkeypatch):
    from rich.console import Console

    from xport.cli.convert_many import _LiveTable
    from xport.convert.many import api

    table = _LiveTable(api.read(two))
    shown = []

    def tell(task, result):
        table._tell(task, result)
        console = Console(width=120)
        with console.capture() as capture:
            console.print(table._table())
        shown.append(capture.get())

    api.convert_many(two, jobs=1, progress=tell)
    assert "running" in shown[0]
    assert "1 more" in shown[0]
    assert "converted" in shown[-1]
    assert "The numbers differ." in shown[-1]


def test_a_missing_ray_is_told_with_the_pip_command(two, monkeypatch):
    import sys

    from xport.convert.many import api
    from xport.errors import MissingRuntimeError

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingRuntimeError) as caught:
        api.convert_many(two, executor="ray")
    assert caught.value.fix == "pip install 'xport-ml[ray]'"
