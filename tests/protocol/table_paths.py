"""TF Serving's REST, rule by rule: xport's own refusals, paths, status and metadata."""

from __future__ import annotations

from typing import Any

from tests.protocol.rows import ONE, PREDICT, Row, bad, columns, rows

OWN_ERRORS = [
    Row(
        "too few features",
        "/tiny:predict",
        rows([[1, 2, 3]]),
        400,
        error="Input 'x' has shape [1, 3], expected x:float32[batch,4].",
        ours=True,
    ),
    Row(
        "too many axes",
        "/tiny:predict",
        rows([[ONE]]),
        400,
        error="Input 'x' has shape [1, 1, 4], expected x:float32[batch,4].",
        ours=True,
    ),
    Row(
        "too few axes",
        "/tiny:predict",
        columns(ONE),
        400,
        error="Input 'x' has shape [4], expected x:float32[batch,4].",
        ours=True,
    ),
    Row(
        "a scalar",
        "/tiny:predict",
        columns(1),
        400,
        error="Input 'x' has shape [], expected x:float32[batch,4].",
        ours=True,
    ),
    Row(
        "batches that differ",
        "/pair:predict",
        columns({"a": [[1, 2]], "n": [1, 2]}),
        400,
        error="Input 'n' has shape [2], expected n:int64[batch] with batch=1.",
        ours=True,
    ),
    Row(
        "unknown input in column form",
        "/tiny:predict",
        columns({"x": [ONE], "z": 1}),
        400,
        error="Unknown named input: z in 'inputs' object; expecting x.",
        ours=True,
    ),
    Row("broken JSON", "/tiny:predict", "{", 400, error="JSON Parse error: Invalid value. at offset: 1", ours=True),
    Row(
        "a trailing comma",
        "/tiny:predict",
        '{"instances":[1,]}',
        400,
        error="JSON Parse error: Invalid value. at offset: 16",
        ours=True,
    ),
    Row(
        "an offset counts bytes",
        "/tiny:predict",
        '{"é": [1, ] }',
        400,
        error="JSON Parse error: Invalid value. at offset: 11",
        ours=True,
    ),
    Row(
        "something behind",
        "/tiny:predict",
        '{"instances":[1]} x',
        400,
        error="JSON Parse error: Invalid value. at offset: 18",
        ours=True,
    ),
    Row("only blanks", "/tiny:predict", "  ", 400, error="JSON Parse error: The document is empty", ours=True),
    Row(
        "nested too deeply",
        "/tiny:predict",
        '{"instances":' + "[" * 100_000 + "]" * 100_000 + "}",
        400,
        error="JSON Parse error: The document is nested too deeply",
        ours=True,
    ),
]
PATHS = [
    bad("unknown model", rows([ONE]), "Servable not found for request: Latest(foo)", path="/foo:predict", status=404),
    bad(
        "unknown version",
        rows([ONE]),
        "Servable not found for request: Specific(tiny, 9)",
        path="/tiny/versions/9:predict",
        status=404,
    ),
    bad("unknown label", rows([ONE]), "Unrecognized servable version label: nope", path="/tiny/labels/nope:predict"),
    bad("unknown action", rows([ONE]), "Malformed request: POST /v1/models/tiny:explain", path="/tiny:explain"),
    bad("no action", rows([ONE]), "Malformed request: POST /v1/models/tiny", path="/tiny"),
    bad(
        "version is no number",
        rows([ONE]),
        "Malformed request: POST /v1/models/tiny/versions/a:predict",
        path="/tiny/versions/a:predict",
    ),
    bad(
        "version and label",
        rows([ONE]),
        "Malformed request: POST /v1/models/tiny/versions/1/labels/a:predict",
        path="/tiny/versions/1/labels/a:predict",
    ),
    bad(
        "a version beyond int64",
        rows([ONE]),
        "Failed to convert version: 99999999999999999999 to numeric.",
        path="/tiny/versions/99999999999999999999:predict",
    ),
    Row("GET for a prediction", "/tiny:predict", None, 400, error="Malformed request: GET /v1/models/tiny:predict"),
    Row(
        "another method",
        "/tiny:predict",
        rows([ONE]),
        400,
        error="Malformed request: PUT /v1/models/tiny:predict",
        method="PUT",
    ),
    Row("DELETE", "/tiny", None, 400, error="Malformed request: DELETE /v1/models/tiny", method="DELETE"),
    Row("another path", "/../nothing", None, 400, error="Malformed request: GET /v1/models/../nothing"),
    Row(
        "classify on a predict signature",
        "/tiny:classify",
        {"examples": [{"x": 1.0}]},
        400,
        error="Expected classification signature method_name to be tensorflow/serving/classify. Was: " + PREDICT,
    ),
    Row(
        "regress on a predict signature",
        "/tiny:regress",
        {"examples": [{"x": 1.0}]},
        400,
        error="Expected regression signature method_name to be tensorflow/serving/regress. Was: " + PREDICT,
    ),
    Row(
        "classify without examples",
        "/tiny:classify",
        {},
        400,
        error="JSON Value: {} When method is classify, key 'examples' is expected and was not found",
    ),
    Row(
        "classify with no example",
        "/tiny:classify",
        {"examples": []},
        400,
        error="JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
    ),
    Row(
        "an example that is no object",
        "/tiny:regress",
        {"examples": [1]},
        400,
        error="Example must be JSON object but got JSON Number",
    ),
    Row(
        "a feature of two types",
        "/tiny:classify",
        {"examples": [{"x": [1, "a"]}]},
        400,
        error="Unexpected element type in feature: x expecting type: int64",
        ours=True,
    ),
    Row(
        "a null feature",
        "/tiny:classify",
        {"examples": [{"x": None}]},
        400,
        error="Feature: x has element with unexpected JSON type: Null",
    ),
]


def _info(dtype: str, dims: list[int], name: str) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "tensor_shape": {"dim": [{"size": str(d), "name": ""} for d in dims], "unknown_rank": False},
        "name": name,
    }


AVAILABLE = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
STATUS = [
    Row("status", "/tiny", want={"model_version_status": [AVAILABLE]}),
    Row("status of a version", "/tiny/versions/1", want={"model_version_status": [AVAILABLE]}),
    Row("status by label", "/tiny/labels/stable", want={"model_version_status": [AVAILABLE]}),
    Row("status of an unknown model", "/foo", None, 404, error="Could not find any versions of model foo"),
    Row("status of an unknown version", "/tiny/versions/9", None, 404, error="Could not find version 9 of model tiny"),
    Row(
        "status of an unknown label", "/tiny/labels/nope", None, 400, error="Unrecognized servable version label: nope"
    ),
    Row(
        "metadata of an unknown model", "/foo/metadata", None, 404, error="Servable not found for request: Latest(foo)"
    ),
    Row(
        "metadata of an unknown version",
        "/tiny/versions/9/metadata",
        None,
        404,
        error="Servable not found for request: Specific(tiny, 9)",
    ),
    Row(
        "metadata",
        "/tiny/metadata",
        want={
            "model_spec": {"name": "tiny", "signature_name": "", "version": "1"},
            "metadata": {
                "signature_def": {
                    "signature_def": {
                        "serving_default": {
                            "inputs": {"x": _info("DT_FLOAT", [-1, 4], "x")},
                            "outputs": {"y": _info("DT_FLOAT", [-1, 3], "y")},
                            "method_name": "tensorflow/serving/predict",
                            "defaults": {},
                        }
                    }
                }
            },
        },
        ours=True,
    ),
    Row(
        "all models",
        "",
        want={"models": [{"name": n, "model_version_status": [AVAILABLE]} for n in ("tiny", "pair")]},
        ours=True,
    ),
]
