"""Starting an application on a Ray cluster, watching it until it is ready, and taking it away again.

Source: https://docs.ray.io/en/latest/serve/api/index.html
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from xport.errors import UsageError, XportError
from xport.ray_cluster import cluster, first_line
from xport.runtimes import require, set_defaults
from xport.serve.embedded.catalogue import Model, parse_model
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.version import Version
from xport.serve.launching.process import check_ports, get_json
from xport.serve.on_ray.application import application, specs
from xport.serve.on_ray.served import Served, undisturbed
from xport.serve.on_ray.spec import ModelSpec, Scale, marked_error

_POLL = 0.2
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_QUIET = {"enable_access_log": False, "log_level": "WARNING"}
_NETWORK = (
    "Ray listens on several random ports of every address, and whoever reaches one can run code: "
    "use it in a closed network."
)


def launch(
    models: Sequence[str | Path],
    *,
    options: ServerOptions | None = None,
    scale: Scale | None = None,
    address: str | None = None,
    ready_timeout: float = 600.0,
    progress: Callable[[str], None] = lambda _: None,
) -> Served:
    """Serve models on a Ray cluster and wait until every replica has proven its model.

    Args:
        models: Paths, or ``NAME=PATH``; see `xport.serve.embedded.catalogue.parse_model`.
        options: How; what concerns gRPC, TLS, tokens, logs and the folder watch means nothing here.
        scale: How many replicas each version has.
        address: Of a running cluster's head; by default a cluster is started on this machine and stopped at the end.
        ready_timeout: Seconds until all must be ready.
        progress: Told what begins.

    Returns:
        What runs; a context manager that takes it away again.

    Raises:
        MissingRuntimeError: If Ray Serve is not installed.
        UsageError: If the port or the place ``/`` is taken, or there is no cluster at the address.
        XportError: What keeps a replica from being ready; nothing is left running.
    """
    set_defaults()  # a cluster's processes that are started from here inherit them
    for package in ("ray.serve", "aiohttp", "orjson"):
        require(package)
    options, scale = options or ServerOptions(), scale or Scale()
    parsed: list[Model[Version]] = [parse_model(str(model)) for model in models]
    versions = specs(parsed, options)
    port = options.port or _free_port(options.host)
    if address is None:
        check_ports({"--port": port}, options.host)
    stack = contextlib.ExitStack()
    try:
        progress("Connecting to Ray" if address else "Starting Ray")
        ray = stack.enter_context(cluster(address, num_cpus=_processors(versions, scale)))
        url = stack.enter_context(_serve_started(ray, options.host, port, local=address is None))
        names = list(dict.fromkeys(spec.name for spec in versions))
        served = Served(ray, f"xport-{secrets.token_hex(4)}", url, names, stack)
        stack.callback(served.delete)
        progress("Waiting for the replicas")
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())
        _deploy(application(versions, scale, options, ingresses=nodes), served.name)
        _wait_ready(served, ready_timeout)
        served.notes += [_NETWORK, *_notes(served.name, versions, options)]
    except BaseException:
        with undisturbed():
            stack.close()
        raise
    return served


def _processors(versions: Sequence[ModelSpec], scale: Scale) -> int:
    """Of a cluster of our own: never too few for the replicas, which may share the real ones."""
    return max(os.cpu_count() or 1, scale.most * sum(spec.threads for spec in versions))


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _serve_started(ray: Any, host: str, port: int, *, local: bool) -> Iterator[str]:
    """Ray Serve on the cluster: what runs there is used, otherwise it is started, and ended if nobody else uses it.

    Yields:
        The URL of its proxy.

    Raises:
        UsageError: If it runs on another port, or something is served at ``/`` already.
    """
    serve = require("ray.serve")
    # What matters comes to us as a status; its background threads complain when a cluster ends.
    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
    place = _reachable(ray, host)
    found = require("ray.serve.context")._get_global_client(raise_if_no_controller_running=False)
    try:
        if found is None:
            _start(serve, host, port, "HeadOnly" if local else "EveryNode")
        else:
            _check_usable(found, host, port)
        yield f"http://{f'[{place}]' if ':' in place else place}:{port}"
    finally:
        # A cluster of our own ends as a whole.
        if found is None and not local and not serve.status().applications:
            serve.shutdown()


def _start(serve: Any, host: str, port: int, where: str) -> None:
    try:
        serve.start(proxy_location=where, http_options={"host": host, "port": port}, logging_config=_QUIET)
    except Exception as error:  # of many kinds; a port in use is one
        raise UsageError(
            f"Ray's proxies do not start on {host}:{port}: {first_line(error)}",
            "Is the port in use on a machine of the cluster? Take another one: --port 8600",
        ) from error


def _check_usable(client: Any, host: str, port: int) -> None:
    http = client.http_config
    if (http.host, http.port) != (host, port):
        raise UsageError(
            f"Ray Serve runs on this cluster already, on {http.host}:{http.port}, not on {host}:{port}.",
            f"Use its address: --host {http.host} --port {http.port}",
        )
    taken = [n for n, app in client.get_serve_details()["applications"].items() if app["route_prefix"] == "/"]
    if taken:
        raise UsageError(
            f"The application {taken[0]!r} is served at / on this cluster already.",
            "Delete it, or serve on another cluster; leave --ray-address out for one on this machine.",
        )


def _reachable(ray: Any, host: str) -> str:
    """An address that the proxy of the head answers at.

    Raises:
        UsageError: If it would answer its own machine only, and that is not this one.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    head = next((n["NodeManagerAddress"] for n in nodes if "node:__internal_head__" in n["Resources"]), "127.0.0.1")
    here = ray.get_runtime_context().get_node_id()
    ours = next((n["NodeManagerAddress"] for n in nodes if n["NodeID"] == here), head)
    if host in _LOOPBACK and head != ours:
        raise UsageError(
            f"On {host} the cluster's proxies would answer their own machines only, and its head is {head}.",
            "Have them listen on every address, in a closed network: --host 0.0.0.0",
        )
    return str(head) if host in ("0.0.0.0", "::") else host


def _deploy(app: Any, name: str) -> None:
    serve = require("ray.serve")
    target = serve.RunTarget(app, name=name, route_prefix="/", logging_config=_QUIET)
    try:
        serve.run_many([target], wait_for_applications_running=False)
    except Exception as error:  # of many kinds
        raise XportError(
            f"Ray Serve does not take the application: {first_line(error)}", "Its log says more."
        ) from error


def _wait_ready(served: Served, timeout: float) -> None:
    """Wait until Ray calls everything healthy and the proxy answers.

    Raises:
        XportError: What a replica said when it failed, or that it took too long.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        state, messages = served.state()
        told = next(filter(None, map(marked_error, messages)), None)
        if told is not None:
            raise told
        if state in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise XportError(
                f"A replica does not start: {_last_line(messages)}",
                "xport must be installed on every machine of the cluster: pip install 'xport-ml[ray]'",
            )
        if state == "RUNNING" and _answers(served.url):
            return
        time.sleep(_POLL)
    raise XportError(
        f"Not ready within {timeout:g} s: {_last_line(messages)}",
        "Has the cluster enough processors? A replica takes one, or --threads many: ray status",
    )


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        return get_json(f"{url}/v2/health/ready")[0] == 200
    return False


def _last_line(messages: Sequence[str]) -> str:
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    return lines[-1][:1000] if lines else "Ray says nothing more."


def _notes(name: str, versions: Sequence[ModelSpec], options: ServerOptions) -> list[str]:
    """What a user should know of each version."""
    notes = []
    for spec in versions:
        card = require("ray.serve").get_deployment_handle(spec.deployment, name).card.remote().result(timeout_s=60)
        notes += [f"{spec.label}: {message}" for message in card.warnings]
        checked = f"{card.golden} golden cases pass in each replica"
        notes.append(f"{spec.label}: {checked if card.golden else 'no golden inputs, nothing checked'}.")
        for signature, endpoint in card.endpoints.items():
            if endpoint.alone_because and options.max_batch > 1:
                notes.append(f"{spec.label}, {signature}: each request runs alone: {endpoint.alone_because}.")
    return notes
