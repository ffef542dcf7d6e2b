"""URLs among the artifacts of `xport validate`."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import pytest

import xport
from xport.errors import UsageError
from xport.validate.results import Status

SCHEMA = Path(__file__).parents[2] / "docs" / "validate.schema.json"


def validate(*artifacts, **options):
    return xport.validate(*artifacts, **{"runs": 0, "threads": 1, "batch": [1, 3], **options})


def statuses(report):
    found = {}
    for cell in report.cells:
        found.setdefault(cell.artifact, set()).add(cell.status)
    return found


def test_urls_beside_files(server, nets, tmp_path):
    urls = [f"{server.url}/v1/models/net", f"{server.url}/v2/models/net", f"grpc://{server.grpc}/net"]
    report = validate(nets["net"], *urls, f"{server.url}/v1/models/tampered", runs=6)
    found = statuses(report)
    assert [found[url] for url in urls] == [{Status.PASSED}] * 3
    assert found[f"{server.url}/v1/models/tampered"] == {Status.FAILED}
    for cell in report.cells:
        if cell.artifact != "net.onnx":
            assert (cell.load_seconds, cell.import_seconds, cell.peak_memory, cell.idle_memory) == (None,) * 4
            assert cell.first_seconds > 0
            assert cell.latency.p50 > 0
            assert "over the wire" in cell.placement
    for info in report.artifacts[1:]:
        assert (info.format, info.size, info.sha256) == ("served", None, "")
        assert "latency is over the wire" in info.notes[0]
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
    report.write_page(tmp_path / "page.html")
    assert urls[0] in (tmp_path / "page.html").read_text()
    from xport.validate.reports.junit import write_junit

    write_junit(report, tmp_path / "run.xml")
    assert ElementTree.parse(tmp_path / "run.xml").getroot().iter("testcase")
    again = validate(nets["net"], urls[0], baseline=document)
    assert any("there is no such cell" in text for text in again.baseline.regressions)


def test_a_url_as_the_reference(server, nets):
    url = f"{server.url}/v2/models/net"
    report = validate(url, nets["net"], nets["tampered"])
    assert statuses(report) == {url: {Status.REFERENCE}, "net.onnx": {Status.PASSED}, "tampered.onnx": {Status.FAILED}}
    assert "a served model cannot be run in float64" in report.notes[0]


def test_a_server_that_is_not_there_costs_its_cells_only(server, nets):
    gone = "http://127.0.0.1:9/v1/models/net"
    report = validate(nets["net"], gone, f"{server.url}/v1/models/net")
    assert statuses(report)[gone] == {Status.ERROR}
    assert statuses(report)[f"{server.url}/v1/models/net"] == {Status.PASSED}
    assert "nobody listens there" in next(c.reason for c in report.cells if c.artifact == gone)
    assert report.exit_code == 3


def test_its_server_chooses_the_device(server, nets):
    url = f"{server.url}/v2/models/net"
    report = validate(nets["net"], url, device=["cpu", "cuda"], batch=1)
    cells = {cell.device: cell for cell in report.cells if cell.artifact == url}
    assert cells["cpu"].status is Status.PASSED
    assert cells["cuda"].status is Status.NO_DEVICE
    assert cells["cuda"].reason == "its server chooses the device"
    only = validate(nets["net"], url, device="cuda", batch=1)
    assert {c.status for c in only.cells if c.artifact == url} == {Status.PASSED}


def test_a_server_without_an_interface_is_asked_by_the_references(standins, numpy_net, nets):
    with standins.KServeV1(numpy_net) as server:
        url = f"{server.url}/v1/models/net"
        assert statuses(validate(nets["net"], url, served={"form": "row"})) == {
            "net.onnx": {Status.REFERENCE},
            f"{url} (row)": {Status.PASSED},
        }
        with pytest.raises(UsageError, match="does not tell what its model takes"):
            validate(url, nets["net"])


def test_other_names_are_refused_side_by_side(server, nets, tmp_path):
    import onnx

    model = onnx.load(nets["net"])
    del model.metadata_props[:]
    model.graph.output[0].name = model.graph.node[2].output[0] = model.graph.node[3].input[0] = "other"
    onnx.save(model, tmp_path / "named.onnx")
    url = f"{server.url}/v2/models/net"
    with pytest.raises(UsageError, match=r"(?s)other:float32.*y:float32"):
        validate(tmp_path / "named.onnx", url)
    assert validate(tmp_path / "named.onnx", url, names={"other": "y"}).passed


def test_a_header_stays_out_of_the_report(server, nets, tmp_path, monkeypatch):
    from xport.cli.run import run

    data = tmp_path / "run.json"
    arguments = ["validate", str(nets["net"]), f"{server.url}/v1/models/net", "--runs", "0", "--batch", "1"]
    arguments += ["--header", "X-Key: a-very-secret-word", "--json", str(data)]
    monkeypatch.setattr("sys.argv", ["xport", *arguments])
    assert run(arguments) == 0
    assert "a-very-secret-word" not in data.read_text()
