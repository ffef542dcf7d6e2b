"""Every format at once, as the digits demo makes them."""

import pytest

import xport
from xport.validate.results import Status


@pytest.mark.slow
def test_five_formats_are_the_same_model(tmp_path):
    made = [
        xport.convert("zoo:digits_cnn@small", to=to, output=tmp_path / f"digits.{to}").path
        for to in ("torchscript", "exported", "onnx", "savedmodel", "tflite")
    ]
    report = xport.validate("zoo:digits_cnn@small", *made, batch=[1, 3], runs=20, threads=1)
    assert report.passed, report.verdict
    assert {cell.status for cell in report.cells} == {Status.REFERENCE, Status.PASSED}
    assert all(cell.worst_ratio is not None for cell in report.cells if cell.status is Status.PASSED)
    assert all(cell.latency is not None and cell.peak_memory for cell in report.cells)
    placements = {cell.artifact: cell.placement for cell in report.cells}
    assert placements["digits.savedmodel"].startswith("traced nodes: cpu")
    assert "parameters and buffers: cpu" in placements["digits.torchscript"]
    assert "outputs: cpu" in placements["digits.exported"]
