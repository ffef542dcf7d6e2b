"""What TensorBoard would show, read back with TensorFlow's own reader."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest

import xport
from xport.errors import DestinationError
from xport.validate.verdicts import Loss

pytest.importorskip("tensorboardX")
pytest.importorskip("tensorflow")

_READ = """
import json, sys
from pathlib import Path
import tensorflow as tf

found = []
for path in sorted(Path(sys.argv[1]).rglob("events.*")):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            number = value.simple_value if kind == "simple_value" else value.histo.num if kind == "histo" else None
            found.append([path.parent.name, value.tag, event.step, number])
print(json.dumps(found))
"""


@pytest.mark.usefixtures("without_float64")
def test_the_events_hold_the_reports_figures(tiny, save_tiny, tmp_path):
    import json

    report = xport.validate(tiny, save_tiny(tmp_path / "co py.onnx"), batch=[1, 4], runs=10, threads=1)
    loss = Loss("int8", 30.5, 30.1, 12.0, 10, 1, 0.9)
    cells = [replace(c, outputs=tuple(replace(v, loss=loss) for v in c.outputs)) for c in report.cells]
    report = replace(report, cells=tuple(cells))
    report.write_tensorboard(tmp_path / "events")
    done = subprocess.run(
        [sys.executable, "-c", _READ, tmp_path / "events"], capture_output=True, text=True, check=True
    )
    found = {(run, tag, step): value for run, tag, step, value in json.loads(done.stdout)}
    (cell,) = (c for c in report.cells if c.key == ("co py.onnx", "cpu", 4))
    run = "co_py.onnx.cpu"
    assert found[run, "latency/p50_seconds", 4] == pytest.approx(cell.latency.p50)
    assert found[run, "latency/seconds", 4] == cell.latency.runs
    assert found[run, "memory/peak_bytes", 4] == pytest.approx(cell.peak_memory)
    assert found[run, "y/max_abs", 4] == cell.outputs[0].figures.max_abs
    assert found[run, "y/intended_loss/sqnr_db", 4] == pytest.approx(30.5)
    assert found[run, "passed", 1] == 1.0
    assert math.isinf(cell.outputs[0].figures.sqnr_db)
    assert (run, "y/sqnr_db", 4) not in found  # what is not finite cannot be drawn
    assert ("summary", "verdict/text_summary", 0) in found
    assert {run for run, *_ in found} == {run, "tiny.onnx.cpu", "summary"}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    from xport.cli.validate import _check_folder

    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "no" / "folder"):
        with pytest.raises(DestinationError, match="--tensorboard"):
            _check_folder(path)
