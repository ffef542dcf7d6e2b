"""The server's own OpenAPI document, fuzzed: no 500, and every answer as the document says."""

import urllib.request

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
FEW = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server(running, save_scaled_once, tmp_path_factory):
    path = save_scaled_once(tmp_path_factory.mktemp("fuzzed") / "net.onnx")
    with running(f"net={path}", "--no-grpc") as server:
        yield server


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_every_answer_is_as_documented(server, mode):
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {"/v1/models/net:predict", "/v2/models/net/infer"} <= {operation.path for operation in operations}
    if mode is GenerationMode.NEGATIVE:  # what takes no body can hardly be asked wrongly
        operations = [operation for operation in operations if operation.method.upper() == "POST"]
    statuses: list[int] = []
    for operation in operations:

        @FEW
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case):
            statuses.append(case.call_and_validate(checks=CHECKS).status_code)

        ask()
    assert len(statuses) >= len(operations)
    assert {200} <= set(statuses) if mode is GenerationMode.POSITIVE else {400} <= set(statuses)
    with urllib.request.urlopen(f"{server.url}/v2/health/ready") as answer:
        assert answer.status == 200
