"""Starting TF Serving: its own program where it is installed, otherwise a container.

Sources: https://www.tensorflow.org/tfx/serving/docker; the flags are those of
tensorflow_serving/model_servers/main.cc.
"""

from __future__ import annotations

import functools
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from xport.errors import MissingRuntimeError, XportError
from xport.serve.launching.bundles import bundle_for
from xport.serve.launching.process import Running, check_ports, get_json, start, stopped_on_error
from xport.serve.packaging.bundle import MODELS, Bundle
from xport.serve.packaging.tf_serving import GRPC_PORT, IMAGE, INSIDE, REST_PORT, server_command
from xport.serve.packaging.tf_serving_config import batching_config, models_config, monitoring_config

BINARY = "tensorflow_model_server"
CONTAINER_PROGRAMS = ("docker", "podman")
_ANSWER_SECONDS = 15


def launch(
    models: Sequence[str | Path],
    *,
    rest_port: int = REST_PORT,
    grpc_port: int = GRPC_PORT,
    timeout: float = 120.0,
    image: str = IMAGE,
    **packaging: Any,
) -> Running:
    """Start TF Serving and wait until every model is available.

    Args:
        models: A bundle for TF Serving, or models to package first.
        rest_port: For HTTP.
        grpc_port: For gRPC.
        timeout: Seconds until the models must be there.
        image: The image for a container, where the server itself is not installed.
        **packaging: As for `xport.serve.launching.bundles.bundle_for`.

    Returns:
        The server.

    Raises:
        UsageError: If a port is in use.
        MissingRuntimeError: If neither the server nor a container program is there.
        XportError: If the server ends early, a model fails to load, or nothing answers in time.
    """
    check_ports({"rest_port": rest_port, "grpc_port": grpc_port})
    program = find_program()
    work = Path(tempfile.mkdtemp(prefix="xport-tf-serving-"))
    remove = functools.partial(shutil.rmtree, work, ignore_errors=True)
    try:
        bundle = bundle_for("tf-serving", models, work, **packaging)
        running = _start(program, bundle, work, rest_port, grpc_port, image)
    except BaseException:
        remove()
        raise
    running.when_stopped(remove)
    with stopped_on_error(running):
        running.wait_ready(functools.partial(_all_available, running.url, bundle.models), timeout)
    return running


def find_program() -> str:
    """What can run the server here: its own program, or one for containers.

    Raises:
        MissingRuntimeError: If there is neither; it says what was tried.
    """
    if shutil.which(BINARY):
        return BINARY
    tried = []
    for name in CONTAINER_PROGRAMS:
        if not shutil.which(name):
            tried.append(f"{name}: not installed")
        elif trouble := _trouble(name):
            tried.append(f"{name}: {trouble}")
        else:
            return name
    raise MissingRuntimeError(
        f"TF Serving is not here: {BINARY}: not on the PATH; {'; '.join(tried)}.",
        "Install Docker (https://docs.docker.com/engine/install) or podman (apt-get install podman); "
        "the server itself comes as the image tensorflow/serving.",
    )


def _trouble(program: str) -> str:
    """Why a container program cannot be used; empty if it can."""
    try:
        asked = subprocess.run([program, "info"], capture_output=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not answer ({type(error).__name__})"
    if asked.returncode == 0:
        return ""
    lines = [line.strip() for line in asked.stderr.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"`{program} info` exits with {asked.returncode}"


def _start(program: str, bundle: Bundle, work: Path, rest_port: int, grpc_port: int, image: str) -> Running:
    config = work / "config"
    native = program == BINARY
    _write_config(config, bundle, PurePosixPath(bundle.path.resolve() if native else INSIDE))
    batching = all(entry["batching"] for entry in bundle.models)
    url, grpc = f"http://127.0.0.1:{rest_port}", f"127.0.0.1:{grpc_port}"
    log = work / "server.log"
    if native:
        command = server_command(PurePosixPath(config), batching=batching, rest_port=rest_port, grpc_port=grpc_port)
        running = start("TF Serving", command, url=url, log=log, names=bundle.names, grpc=grpc)
        running.notes.append(f"{BINARY} has no flag for an address: it listens on every one of this machine.")
        return running
    name = f"xport-tf-serving-{secrets.token_hex(4)}"
    command = [
        *(program, "run", "--rm", "--name", name, "--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"),
        *("-p", f"127.0.0.1:{rest_port}:{REST_PORT}", "-p", f"127.0.0.1:{grpc_port}:{GRPC_PORT}"),
        *("-v", f"{bundle.path.resolve() / MODELS}:{INSIDE / MODELS}:ro", "-v", f"{config}:{INSIDE / 'config'}:ro"),
        *("--entrypoint", BINARY, image, *server_command(INSIDE / "config", batching=batching)[1:]),
    ]
    running = start("TF Serving", command, url=url, log=log, names=bundle.names, grpc=grpc)
    running.when_stopped(functools.partial(_remove_container, program, name))
    running.notes.append("The container's ports are published on this machine's loopback address only.")
    return running


def _write_config(config: Path, bundle: Bundle, root: PurePosixPath) -> None:
    """The models' paths as they are where the server runs; the other files as the bundle has them."""
    config.mkdir(mode=0o755)
    versions: dict[str, list[int]] = {}
    for entry in bundle.models:
        versions.setdefault(entry["name"], []).append(entry["version"])
    texts = {
        "models.config": models_config(versions, root / MODELS),
        "batching.config": batching_config(),
        "monitoring.config": monitoring_config(),
    }
    for name, text in texts.items():
        own = bundle.path / "config" / name
        if name != "models.config" and own.is_file():
            text = own.read_text(encoding="utf-8")  # a user may have tuned it
        (config / name).write_text(text, encoding="utf-8")
    config.parent.chmod(0o755)  # the user inside a container is another one


def _all_available(url: str, models: Sequence[dict[str, Any]]) -> bool:
    """Whether every version of every model is available.

    Raises:
        XportError: If the server has given one up.
    """
    for entry in models:
        status, body = get_json(f"{url}/v1/models/{entry['name']}/versions/{entry['version']}")
        if status != 200:
            return False
        state = body["model_version_status"][0]
        if state["state"] == "END":
            raise XportError(
                f"TF Serving gave up version {entry['version']} of {entry['name']}: {state['status']}",
                "Its log says more.",
            )
        if state["state"] != "AVAILABLE":
            return False
    return True


def _remove_container(program: str, name: str) -> None:
    subprocess.run([program, "rm", "-f", name], capture_output=True, timeout=60, check=False)
