import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs/validate.schema.json").read_text())


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    """The floor does not matter here, and importing PyTorch for it takes time."""
    from xport.validate.matrix import answers

    monkeypatch.setattr(answers, "reference64", lambda *_, **__: None)


@pytest.fixture
def models(tiny, save_tiny, tmp_path):
    """A model, a copy, and one that is off by a hundredth."""
    save_tiny(tmp_path / "copy.onnx")
    save_tiny(tmp_path / "wrong.onnx", scale=1.01)
    return tmp_path


def test_copies_pass_and_differences_exit_with_3(call, models):
    code, out, err = call("validate", "tiny.onnx", "copy.onnx", "--runs", "10", "--batch", "1,3", "--threads", "1")
    assert code == 0, err
    for word in ("copy.onnx", "passed", "reference", "is the same model as", "inputs sha256", "p50"):
        assert word in out
    code, out, _ = call("validate", "tiny.onnx", "wrong.onnx", "--runs", "0", "--batch", "2")
    assert code == 3
    assert "1 of 2 cells failed" in out
    assert call("validate", "tiny.onnx", "wrong.onnx", "--runs", "0", "--batch", "2", "--rtol", "0.1")[0] == 0


def test_json_is_what_the_schema_says(call, models):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    code, out, _ = call(
        "validate", "tiny.onnx", "copy.onnx", "wrong.onnx", "--runs", "5", "--device", "cpu,cuda", "--json"
    )
    assert code == 3
    printed = json.loads(out)
    jsonschema.validate(printed, SCHEMA)
    assert printed["passed"] is False
    assert {cell["status"] for cell in printed["cells"]} == {"reference", "passed", "failed", "no device"}
    call("validate", "tiny.onnx", "copy.onnx", "--runs", "0", "--json", "kept.json")
    kept = json.loads(Path("kept.json").read_text())
    jsonschema.validate(kept, SCHEMA)
    assert kept["inputs_sha256"] == printed["inputs_sha256"]
    call("validate", "tiny.onnx", "copy.onnx", "--runs", "0", "--baseline", "kept.json", "--json", "again.json")
    jsonschema.validate(json.loads(Path("again.json").read_text()), SCHEMA)


def test_junit_is_xml_with_a_case_an_output(call, models):
    arguments = ("--runs", "0", "--batch", "2", "--device", "cpu,cuda", "--junit", "out.xml")
    assert call("validate", "tiny.onnx", "copy.onnx", "wrong.onnx", *arguments)[0] == 3
    root = ET.parse("out.xml").getroot()
    assert root.tag == "testsuites"
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"tiny.onnx", "copy.onnx", "wrong.onnx"}
    assert suites["copy.onnx"].get("failures") == "0"
    assert int(suites["wrong.onnx"].get("failures")) >= 1
    assert root.get("skipped") == "3"
    failed = suites["wrong.onnx"].find("testcase/failure/..")
    assert (failed.get("classname"), failed.get("name")) == ("wrong.onnx.cpu, batch 2", "y")
    assert int(root.get("tests")) == len(root.findall("testsuite/testcase"))


def test_names_are_mapped_or_both_signatures_are_shown(call, models, save_tiny):
    save_tiny(models / "other.onnx", names=("in 1", "out"))
    code, _, err = call("validate", "tiny.onnx", "other.onnx", "--runs", "0")
    assert code == 2
    assert "x:float32[batch,4]  in 1:float32[batch,4]" in err
    assert "--map y=out" in err
    code, out, _ = call("validate", "tiny.onnx", "other.onnx", "--runs", "0", "--map", "x=in 1", "--map", "y=out")
    assert code == 0
    assert "names as you mapped them: x = in 1, y = out" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny.onnx"], "nothing to be compared with"),
        (["tiny.onnx", "none.onnx"], "does not exist"),
        (["tiny.onnx", "copy.onnx", "--batch", "1,zwei"], "not a list of numbers"),
        (["tiny.onnx", "copy.onnx", "--batch", "0"], "below one"),
        (["tiny.onnx", "copy.onnx", "--device", "tpu"], "Unknown device 'tpu'"),
        (["tiny.onnx", "copy.onnx", "--map", "x"], "Malformed mapping"),
        (["tiny.onnx", "copy.onnx", "--map", "x=image"], "No artifact calls 'x' 'image': copy.onnx has x, y."),
        (["tiny.onnx", "copy.onnx", "--map", "z=x"], "The reference has no tensor 'z'; it has x, y."),
        (["tiny.onnx", "copy.onnx", "--json", "copy.onnx"], "would write over"),
        (["--json", "wrong.onnx", "tiny.onnx", "copy.onnx"], "exists and is no report"),
        (["tiny.onnx", "copy.onnx", "--report", "no/such/page.html"], "does not exist"),
        (["tiny.onnx", "copy.onnx", "--baseline", "tiny.onnx"], "cannot be read"),
        (["tiny.onnx", "copy.onnx", "--inputs", "none.npz"], "does not exist"),
        (["tiny.onnx", "copy.onnx", "--inputs", "bad.npz"], "expected x:float32[batch,4]"),
    ],
)
def test_wrong_usage_exits_with_2(call, models, arguments, words):
    np.savez("bad.npz", x=np.ones((2, 5), np.float32))
    code, _, err = call("validate", *arguments)
    assert code == 2
    assert words in err
    assert (models / "copy.onnx").read_bytes() == (models / "tiny.onnx").read_bytes()


@pytest.fixture
def earlier(call, models):
    """The JSON of a run, to be changed and compared with."""
    arguments = ("--runs", "20", "--batch", "2", "--threads", "1", "--json", "earlier.json")
    assert call("validate", "tiny.onnx", "copy.onnx", *arguments)[0] == 0

    def compare(change):
        data = json.loads(Path("earlier.json").read_text())
        change(data)
        Path("changed.json").write_text(json.dumps(data))
        arguments = ("--runs", "20", "--batch", "2", "--threads", "1", "--baseline", "changed.json")
        return call("validate", "tiny.onnx", "copy.onnx", *arguments)

    return compare


def cell(data, artifact="copy.onnx"):
    return next(row for row in data["cells"] if row["artifact"] == artifact)


def much_faster(data):
    data["speeds"][0] |= {"times": 9.0, "interval": [8.0, 10.0]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data["artifacts"][1].update(size=10), "copy.onnx: larger"),
        (lambda data: data["cells"].append({**cell(data), "batch": 77}), "no such cell any more"),
        (lambda data: cell(data).update(peak_memory=2**20), "peak memory"),
        (much_faster, "slower beyond noise"),
    ],
)
def test_what_got_worse_than_the_baseline_exits_with_3(earlier, change, words):
    code, out, _ = earlier(change)
    assert code == 3
    assert "got worse" in out
    assert words in out


def test_nothing_worse_than_the_baseline(earlier):
    def other_versions(data):
        data["environment"]["versions"]["numpy"] = "1.0"

    code, out, _ = earlier(other_versions)
    assert code == 0, out
    assert "Nothing is worse" in out
    assert re.search(r"Version of numpy: \S+, was 1\.0", out)


def test_latencies_of_another_machine_are_not_compared(earlier):
    def elsewhere(data):
        much_faster(data)
        data["environment"]["processor"] = "another"

    code, out, _ = earlier(elsewhere)
    assert code == 0
    assert "latencies are not compared" in out


def test_drift_against_the_baseline():
    from xport.validate.reports.baseline import _Comparison

    def side(ratio, verdict="faithful", loss=None):
        row = {"artifact": "a", "device": "cpu", "batch": 1, "fine": True, "status": "passed", "reason": ""}
        row |= {"peak_memory": None, "outputs": [{"output": "y", "ratio": ratio, "verdict": verdict, "loss": loss}]}
        environment = {"versions": {}, "processor": "p", "processors": 1}
        return {
            "inputs_sha256": "0",
            "threads": 1,
            "environment": environment,
            "artifacts": [],
            "cells": [row],
            "speeds": [],
        }

    for new, old, worse in ((3.0, 1.0, True), (1.4, 0.5, False), (2.0, 1.5, False)):
        comparison = _Comparison(side(new), side(old))
        comparison.run()
        assert bool(comparison.worse) == worse
    for new, old, worse in ((20.0, 30.0, True), (28.0, 30.0, False), ("inf", 30.0, False), (30.0, "inf", True)):
        comparison = _Comparison(side(1.0, loss={"sqnr_db": new}), side(1.0, loss={"sqnr_db": old}))
        comparison.run()
        assert bool(comparison.worse) == worse


class Page(HTMLParser):
    """Collects what a page would load, its identifiers, and whether it is well nested."""

    VOID = frozenset({"meta", "link", "br", "img", "hr"})

    def __init__(self):
        super().__init__()
        self.loads, self.ids, self.tags, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.loads += [attributes[key] for key in ("src", "href", "xlink:href") if key in attributes]
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def page(call, models):
    shutil.copy("wrong.onnx", "<b>&wrong.onnx")
    arguments = ("--runs", "10", "--batch", "1,2", "--threads", "1", "--device", "cpu,cuda", "--report", "page.html")
    assert call("validate", "tiny.onnx", "copy.onnx", "<b>&wrong.onnx", *arguments)[0] == 3
    return models / "page.html"


def test_the_page_is_self_contained(page):
    text = page.read_text()
    parsed = Page()
    parsed.feed(text)
    assert len(text) < 2_000_000
    assert not parsed.open
    assert "script" not in parsed.tags
    assert all(target.startswith(("#", "data:")) for target in parsed.loads)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.tags.count("svg") == 3
    assert text.count('role="img" aria-label="') == 3
    for word in ("Not the same", "prefers-color-scheme: dark", "@media print", "viewport", "Run it again", "no device"):
        assert word in text
    assert "<b>&wrong" not in text
    assert "&lt;b&gt;&amp;wrong.onnx" in text


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_the_page_in_a_browser(page, tmp_path):
    shot = tmp_path / "page.png"
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --enable-logging=stderr --window-size=412,2000"
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    assert shot.stat().st_size > 20_000


def test_without_its_packages_the_page_is_refused_before_the_work(call, models, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = call("validate", "tiny.onnx", "copy.onnx", "--report", "page.html")
    assert code == 1
    assert "pip install 'xport-ml[report]'" in err
