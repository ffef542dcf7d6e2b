"""The real TorchServe, probed."""

import socket

import pytest

import xport
from xport.errors import MissingRuntimeError, ServingError, UsageError
from xport.serve.engines import launch
from xport.serve.launching import torchserve as launching
from xport.serve.packaging.api import package
from xport.serve.probing.results import Outcome

PORTS = ("rest_port", "management_port", "metrics_port", "grpc_port", "grpc_management_port")


def missing() -> str:
    try:
        launching.find_program()
    except MissingRuntimeError as error:
        return str(error)
    return ""


def free_ports():
    sockets = [socket.socket() for _ in PORTS]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = {name: each.getsockname()[1] for name, each in zip(PORTS, sockets, strict=True)}
    for each in sockets:
        each.close()
    return found


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_real_server(nets, tmp_path):
    bundle = package(
        [f"{name}={nets[name]}" for name in ("net", "tampered")],
        "torchserve",
        tmp_path / "bundle",
        allow_unverified=True,
    )
    with launch("torchserve", [bundle.path], **free_ports()) as server:
        headers = {"Authorization": f"Bearer {server.details['token']}"}
        common = {"against": nets["net"], "runs": 0, "threads": 1, "headers": headers}
        report = xport.probe(f"{server.url}/predictions/net", load="2x1s", **common)
        assert report.passed, report.failures
        assert report.endpoint.ways == ("torchserve npz", "torchserve column", "torchserve row")
        assert not report.endpoint.tells_interface
        found = xport.probe(server.url, model="tampered", **common)
        assert found.endpoint.protocol == "torchserve"
        assert found.exit_code == 3
        assert {c.outcome for c in found.checks if c.name.startswith("golden")} == {Outcome.FAILED}
        with pytest.raises(UsageError, match="404"):
            xport.probe(f"{server.url}/predictions/foo", **common)
        with pytest.raises(ServingError, match=r"(?i)token"):
            xport.probe(f"{server.url}/predictions/net", **{**common, "headers": {"Authorization": "Bearer wrong"}})
        with pytest.raises(UsageError, match="does not tell what its model takes"):
            xport.probe(f"{server.url}/predictions/net", headers=headers)
