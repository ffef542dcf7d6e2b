"""The benchmarks' records and what the documentation makes of them; the judge's words; the limits of a run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import field
import field_judge
import measure
import steps
import tables
from field_models import names, subject

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_says_where_and_when_it_was_measured(path: Path) -> None:
    machine = json.loads(path.read_text())["machine"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", machine["date"])
    assert machine["cores"] >= 1
    assert machine["processor"]
    assert {"torch", "onnx", "onnxruntime"} <= set(machine["versions"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_those_of_the_results(page: Path) -> None:
    text = page.read_text()
    assert text.count("<!-- table: ") == text.count("<!-- end of table -->") == len(tables.MARKED.findall(text))
    assert tables.filled(text) == text, "run: python benchmarks/tables.py"


def test_a_changed_figure_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    page = tables.filled((ROOT / "docs" / "serving.md").read_text())
    rows = tables.rows_of("serving-field")
    rows[0]["rps"] += 1
    monkeypatch.setattr(tables, "rows_of", lambda name: rows)
    assert tables.filled(page) != page


def test_helpers_of_tests_and_benchmarks_have_names_of_their_own() -> None:
    """They are imported by their bare names in one process, where the first of two would stand for both."""
    paths = [path for folder in (BENCHMARKS, ROOT / "tests") for path in folder.rglob("*.py")]
    helpers = [path.name for path in paths if not re.match(r"test_|conftest|__init__", path.name)]
    assert len(helpers) > 20
    assert sorted(helpers) == sorted(set(helpers))


def test_every_plot_stands_on_a_page() -> None:
    text = "".join(page.read_text() for page in PAGES)
    plots = re.findall(r'^ {12}"([\w-]+)": ', (BENCHMARKS / "plots.py").read_text(), re.MULTILINE)
    assert plots
    for name in plots:
        assert f"(images/{name}.svg)" in text
        assert (ROOT / "docs" / "images" / f"{name}.svg").is_file()


def test_every_step_is_a_script_and_has_a_target_of_make() -> None:
    assert len({step.name for step in steps.STEPS}) == len(steps.STEPS)
    makefile = (ROOT / "Makefile").read_text()
    for step in steps.STEPS:
        assert (BENCHMARKS / step.words[0]).is_file(), step.name
        assert f"bench-{step.part}" in makefile


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        (("right", "right", "right"), "right"),
        (("right", "does not run: x", "does not run: x"), "one batch"),
        (("right", "wrong numbers", "right"), "silently wrong"),
        (("right", "output y has shape (1,) instead of (2,)", "does not run: x"), "silently wrong"),
        (("does not load: x", "does not load: x", "does not load: x"), "cannot run"),
    ],
)
def test_verdict(cases: tuple[str, ...], expected: str) -> None:
    assert field.verdict({f"batch {index}": text for index, text in enumerate(cases)}) == expected


def test_counts_add_up() -> None:
    rows = [{"target": "tflite", "engine": "a", "verdict": v, "changes": []} for v in tables.VERDICTS]
    rows[0]["changes"] = ["input layout"]
    assert tables.counts_table(rows).splitlines()[-1] == "| tflite | a | 5 | 1 | 1 | 1 | 1 | 1 | 1 |"


def test_recorded_answers_are_judged_against_onnx_runtime(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "relu.onnx")
    x = np.array([[-1.0, 2.0]], np.float32)
    answers = {"right/0": np.maximum(x, 0), "wrong/0": x, "narrow/0": np.maximum(x, 0)[:, :1]}
    np.savez(tmp_path / "answers.npz", **answers, **{"refused/error": np.array("ValueError: no")})
    cases = {case: {"x": x} for case in ("right", "wrong", "narrow", "refused")}
    told = field_judge.judge(tmp_path / "relu.onnx", tmp_path / "answers.npz", cases)
    assert told["cases"]["right"] == "right"
    assert told["cases"]["wrong"] == "wrong numbers"
    assert told["cases"]["narrow"] == "output y has shape (1, 1) instead of (1, 2)"
    assert told["cases"]["refused"].startswith("does not run: RuntimeError: ValueError: no")


def test_what_takes_too_long_is_killed_with_what_it_started() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass']); sys.exit(3)"
    cost = measure.run([sys.executable, "-c", code], limit=1)
    assert cost.code in (3, measure.KILLED)  # the child alone used up the time: its parent lives to tell
    assert cost.cpu_seconds < 10
    alone = measure.run([sys.executable, "-c", "while True: pass"], limit=1)
    assert alone.code == measure.KILLED
    assert "processor time" in alone.log


def test_models_are_drawn_with_as_many_rows_as_asked() -> None:
    model = subject("zoo:bert@small")
    assert "bert" in names("zoo")
    assert {array.shape[0] for array in model.examples(5).values()} == {5}
    assert set(model.rows) <= set(model.symbols)
