"""JUnit XML: one test case an output of a cell, for the dashboards of CI systems.

Source: https://github.com/testmoapp/junitxml, which documents what the consumers of the format agree on.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from xport.replacing import write_text
from xport.validate.results import Cell, Status, ValidationReport
from xport.validate.verdicts import Loss

_WRONG = (Status.FAILED, Status.INTERFACE, Status.WRONG_DEVICE)


def junit_xml(report: ValidationReport) -> str:
    """The report as JUnit XML.

    Args:
        report: What was found.

    Returns:
        The document. Numbers that differ are failures, what did not run is an error, what has no device here is
        skipped.
    """
    root = ET.Element("testsuites", name="xport validate")
    for artifact in report.artifacts:
        suite = ET.SubElement(root, "testsuite", name=artifact.name, timestamp=report.created)
        for cell in report.cells:
            if cell.artifact == artifact.name:
                _cell(suite, cell)
        _count(suite)
    if report.baseline is not None:
        suite = ET.SubElement(root, "testsuite", name="baseline", timestamp=report.created)
        for text in report.baseline.regressions:
            _case(suite, "baseline", text, "failure", text)
        if not report.baseline.regressions:
            _case(suite, "baseline", f"nothing is worse than on {report.baseline.created}")
        _count(suite)
    _total(root)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def write_junit(report: ValidationReport, path: Path) -> None:
    """Write the report as JUnit XML.

    Raises:
        DestinationError: If it cannot be written.
    """
    write_text(path, junit_xml(report), "Choose another --junit file.")


def _cell(suite: ET.Element, cell: Cell) -> None:
    """The cases of a cell: its outputs if they were judged, otherwise the cell itself."""
    place = f"{cell.artifact}.{cell.place}"
    if not cell.outputs:
        kind = "skipped" if cell.status is Status.NO_DEVICE else "failure" if cell.status in _WRONG else "error"
        _case(suite, place, "runs", "" if cell.status.fine and kind != "skipped" else kind, cell.reason, cell)
        return
    for verdict in cell.outputs:
        case = _case(suite, place, verdict.output, "" if verdict.passed else "failure", verdict.reason, cell)
        if verdict.loss is not None:
            _properties(case, verdict.loss)
    for edge in cell.edges:
        for verdict in edge.verdicts:
            name = f"{verdict.output} with {edge.set}"
            _case(suite, place, name, "" if verdict.passed else "failure", verdict.reason, cell)
    if cell.status in (Status.PASSED, Status.FAILED):
        return
    _case(suite, place, "runs", "failure" if cell.status in _WRONG else "error", cell.reason, cell)


def _case(
    suite: ET.Element, place: str, name: str, kind: str = "", message: str = "", cell: Cell | None = None
) -> ET.Element:
    seconds = cell.latency.p50 if cell is not None and cell.latency is not None else 0.0
    case = ET.SubElement(suite, "testcase", classname=_legal(place), name=_legal(name), time=f"{seconds:.6f}")
    if kind:
        status = cell.status.value if cell is not None else "regression"
        element = ET.SubElement(case, kind, message=_legal(message))
        if kind != "skipped":
            element.set("type", status)
    elif message:
        ET.SubElement(case, "system-out").text = _legal(message)
    return case


def _properties(case: ET.Element, loss: Loss) -> None:
    """What a candidate of lower precision loses, as numbers."""
    properties = ET.Element("properties")
    case.insert(0, properties)
    for name, value in loss.to_json().items():
        if isinstance(value, int | float | str) and name != "reason":
            ET.SubElement(properties, "property", name=name, value=_legal(str(value)))


def _legal(text: str) -> str:
    """Text without the control characters that XML 1.0 forbids; messages of runtimes may hold any."""
    return "".join(c for c in text if c in "\t\n\r" or c >= " ")


def _count(suite: ET.Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{kind}"))))


def _total(root: ET.Element) -> None:
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
