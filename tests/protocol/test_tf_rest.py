"""TF Serving's REST by the table: against this server in every format, or against ``XPORT_PROTOCOL_URL``.

Another server must serve `models.py`'s ``tiny`` and ``pair`` (``python tests/protocol/models.py FOLDER``), version 1,
``tiny`` with the label ``stable``.
"""

import http.client
import json
import math
import os
from urllib.parse import urlsplit

import pytest

from tests.protocol import rows, table
from xport.formats import Format

URL = os.environ.get("XPORT_PROTOCOL_URL", "").rstrip("/")
OTHERS = [Format.SAVEDMODEL, Format.TFLITE, Format.TORCHSCRIPT, Format.EXPORTED]
SUBSET = (
    "row form, several inputs",
    "column form, several inputs",
    "NaN in, NaN out",
    "ragged rows",
    "metadata",
    "status",
)


def send(url, row):
    body = row.body if row.body is None or isinstance(row.body, str) else json.dumps(row.body)
    body = body and body.encode()  # http.client would write Latin-1
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(row.method or ("GET" if body is None else "POST"), rows.P + row.path, body)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), json.loads(response.read())
    finally:
        connection.close()


def same(left, right):
    """Equal values of equal types; NaN is NaN."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and left == right


def check(url, row):
    if URL and row.ours:
        pytest.skip("only this server answers so")
    status, content_type, answer = send(url, row)
    assert content_type == "application/json"
    if row.want is not None:
        assert same(answer, row.want), answer
    elif URL:
        assert answer["error"].startswith(row.error)
    else:
        assert answer == {"error": row.error + row.more}
    assert status == row.status


@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: row.rule)
def test_rule(row, request):
    check(URL or request.getfixturevalue("onnx_server").url, row)


@pytest.mark.skipif(bool(URL), reason="another server is asked")
@pytest.mark.parametrize(
    "file_format", [Format.ONNX, *(pytest.param(f, marks=pytest.mark.slow) for f in OTHERS)], ids=lambda f: f.value
)
def test_every_rule_without_workers(file_format, suite_server):
    """All in one test for each format, whose model runs in the server's own process."""
    url = suite_server(file_format, "--workers", "0").url
    for row in table.ROWS:
        check(url, row)


@pytest.mark.skipif(bool(URL), reason="another server is asked")
@pytest.mark.parametrize("rule", SUBSET)
@pytest.mark.parametrize("file_format", OTHERS, ids=lambda f: f.value)
def test_rule_in_other_formats(file_format, rule, suite_server):
    check(suite_server(file_format).url, next(row for row in table.ROWS if row.rule == rule))


@pytest.mark.slow
@pytest.mark.skipif(bool(URL), reason="another server is asked")
@pytest.mark.parametrize("file_format", OTHERS, ids=lambda f: f.value)
def test_every_rule_in_other_formats(file_format, suite_server):
    for row in table.ROWS:
        check(suite_server(file_format).url, row)


def test_the_table_is_complete():
    assert len(table.ROWS) >= 80
    assert len({row.rule for row in table.ROWS}) == len(table.ROWS)
