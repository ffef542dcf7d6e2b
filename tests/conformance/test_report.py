"""The store that `make conformance` goes on from, and the page it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import exclusions
import report
from harness import Outcome
from outcomes import Store, line
from results_page import page


def filled(folder: Path, fingerprint: str) -> Store:
    store = Store(folder, fingerprint)
    with store.append("torch", "runtime") as file:
        file.write(line("test_abs", Outcome("pass")))
        file.write(line("test_add", Outcome("refused", "no\nsuch thing")))
    return store


def test_outcomes_survive_in_the_store(tmp_path: Path) -> None:
    store = filled(tmp_path, "a")
    with store.append("torch", "runtime") as file:
        file.write(line("test_add", Outcome("pass")))
    assert store.read("torch", "runtime") == {"test_abs": Outcome("pass"), "test_add": Outcome("pass")}


def test_a_run_that_was_killed_leaves_half_a_line_that_does_no_harm(tmp_path: Path) -> None:
    store = filled(tmp_path, "a")
    with store.path("torch", "runtime").open("a") as file:
        file.write('["test_and", "pa')
    with store.append("torch", "runtime") as file:
        file.write(line("test_asin", Outcome("pass")))
    assert list(store.read("torch", "runtime")) == ["test_abs", "test_add", "test_asin"]


def test_outcomes_of_other_code_are_not_read(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    other = Store(tmp_path, "b")
    assert other.read("torch", "runtime") == {}
    with other.append("torch", "runtime") as file:
        file.write(line("test_and", Outcome("pass")))
    assert list(other.read("torch", "runtime")) == ["test_and"]
    assert Store(tmp_path, None).read("torch", "runtime") == other.read("torch", "runtime")


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path, "a")
    asked: list[str] = []
    monkeypatch.setattr(report, "names", lambda: ["test_abs", "test_add", "test_and"])
    monkeypatch.setattr(report, "sweep", lambda target, mode, left, **_: asked.extend(left))
    report.run(store, "torch", "runtime", jobs=1)
    assert asked == ["test_and"]


def test_the_page_counts_by_mode_and_names_reasons() -> None:
    results = {
        ("onnxruntime", "runtime"): {"test_add": Outcome("pass"), "test_and2d": Outcome("failed", "no")},
        ("torch", "runtime"): {"test_add": Outcome("pass"), "test_and2d": Outcome("refused", "no such thing")},
        ("torch", "constant"): {"test_add": Outcome("wrong", "output 0 differs")},
    }
    text = page(results)
    assert "| torch | runtime | 2 | 1 | 1 | 0 | 0 | 1 of 1 |" in text
    assert "| torch | constant | 1 | 0 | 0 | 0 | 1 | 0 of 1 |" in text
    assert "| Add | 7-" in text
    assert "| 1/1 · 0/1 (1 broken) · - |" in text
    assert "* **And**: no such thing (torch 1 · 0 · 0)" in text


def test_only_measured_combinations_are_replaced_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusions, "TABLE", tmp_path / "table.tsv")
    exclusions.write([(("torch", "runtime", "a"), "x"), (("tflite", "runtime", "a"), "y")], {("torch", "runtime")})
    exclusions.write([(("torch", "runtime", "b"), "z")], {("torch", "runtime")})
    assert exclusions.read() == {("tflite", "runtime", "a"): "y", ("torch", "runtime", "b"): "z"}
