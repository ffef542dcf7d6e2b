"""Starting TorchServe: in temporary and working folders of its own, ready when every worker is.

Sources: https://github.com/pytorch/serve, docs/configuration.md, docs/management_api.md and
docs/token_authorization_api.md (0.12).
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xport.errors import MissingRuntimeError, XportError
from xport.serve.launching.bundles import bundle_for
from xport.serve.launching.process import Running, check_ports, get_json, start, stopped_on_error
from xport.serve.packaging import render
from xport.serve.packaging.bundle import MODELS, Bundle
from xport.serve.packaging.torchserve import server_settings

_JAVA = 11
_ANSWER_SECONDS = 15


def launch(
    models: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    rest_port: int = 8080,
    management_port: int = 8081,
    metrics_port: int = 8082,
    grpc_port: int = 7070,
    grpc_management_port: int = 7071,
    timeout: float = 180.0,
    token: bool = True,
    **packaging: Any,
) -> Running:
    """Start TorchServe and wait until every model has a worker that is ready.

    Args:
        models: A bundle for TorchServe, or models to package first.
        host: The address for predictions; everything else listens on loopback.
        rest_port: For predictions.
        management_port: For its own questions.
        metrics_port: For Prometheus.
        grpc_port: For gRPC.
        grpc_management_port: For gRPC, too.
        timeout: Seconds until the workers must be ready.
        token: Whether requests need a token; it is in the result's ``details``.
        **packaging: As for `xport.serve.launching.bundles.bundle_for`.

    Returns:
        The server.

    Raises:
        UsageError: If a port is in use.
        MissingRuntimeError: If TorchServe, PyYAML or Java are missing.
        XportError: If the server ends early, a worker dies while it loads, or nothing is ready in time.
    """
    ports = {
        "rest_port": rest_port,
        "management_port": management_port,
        "metrics_port": metrics_port,
        "grpc_port": grpc_port,
        "grpc_management_port": grpc_management_port,
    }
    program = find_program()
    check_ports(ports)
    # Short: the workers' sockets lie in it, and their paths may have 107 bytes.
    work = Path(tempfile.mkdtemp(prefix="xport-ts-"))
    remove = functools.partial(shutil.rmtree, work, ignore_errors=True)
    try:
        bundle = bundle_for("torchserve", models, work, **packaging)
        settings = server_settings(
            str(bundle.path.resolve() / MODELS), bundle.names, host=host, ports=list(ports.values()), token=token
        )
        render.write(work / "config.properties", "torchserve.properties.j2", **settings)
        running = _start(program, bundle, work, f"http://{host}:{rest_port}")
    except BaseException:
        remove()
        raise
    running.when_stopped(remove)
    management = f"http://127.0.0.1:{management_port}"
    with stopped_on_error(running):
        running.wait_ready(functools.partial(_all_ready, running, management, work, token), timeout)
        if token:
            running.details["token"] = _key(work, "inference")
    return running


def find_program() -> str:
    """The ``torchserve`` command, after a look at what it needs.

    Raises:
        MissingRuntimeError: Naming everything that is missing, and how to get it.
    """
    beside = Path(sys.executable).with_name("torchserve")
    program = str(beside) if beside.is_file() else shutil.which("torchserve")
    missing, fixes = [], []
    if program is None:
        missing.append("torchserve is not installed")
        fixes.append("pip install 'torchserve==0.12.0' pyyaml")
    elif trouble := _python_trouble(program):
        # Without it every worker dies, while the server itself stays up.
        missing.append(trouble)
        fixes.append("pip install pyyaml torch")
    if trouble := _java_trouble():
        missing.append(trouble)
        fixes.append("apt-get install openjdk-17-jre-headless")
    if program is None or missing:
        raise MissingRuntimeError(f"TorchServe cannot be started: {'; '.join(missing)}.", "\n".join(fixes))
    return program


def _python_trouble(program: str) -> str:
    """What the Python of a ``torchserve`` command lacks for its workers; empty if nothing."""
    with Path(program).open("rb") as file:
        first = file.readline().decode(errors="replace").strip()
    python = first.removeprefix("#!").strip() if first.startswith("#!") and "python" in first else sys.executable
    code = "import importlib.util as u; print(*[m for m in ('yaml', 'torch') if u.find_spec(m) is None])"
    asked = subprocess.run([*python.split(), "-c", code], capture_output=True, text=True, check=False)
    lacking = asked.stdout.split()
    return f"its Python lacks {', '.join(lacking)}" if lacking else ""


def _java_trouble() -> str:
    """Why Java cannot be used; empty if it can."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else "java"
    try:
        asked = subprocess.run([java, "-version"], capture_output=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return f"{java} is not there (TorchServe runs on Java 17)"
    said = (asked.stderr + asked.stdout).decode(errors="replace")
    match = re.search(r'version "(\d+)', said)
    if asked.returncode or not match:
        return f"{java} does not work: {said.strip().splitlines()[:1]}"
    return "" if int(match[1]) >= _JAVA else f"Java {match[1]} is too old (TorchServe runs on Java 17)"


def _start(program: str, bundle: Bundle, work: Path, url: str) -> Running:
    for name in ("t", "w"):
        (work / name).mkdir()
    temporary, working = str(work / "t"), work / "w"
    environment = {
        **{"ORT_DISABLE_TELEMETRY": "1"},
        **os.environ,
        # One instance a folder: its pid file, its workers' sockets, its keys and logs lie there.
        **{"TMPDIR": temporary, "TEMP": temporary, "LOG_LOCATION": str(working), "METRICS_LOCATION": str(working)},
        # Bodies reach the handler as they were sent.
        "TS_DECODE_INPUT_REQUEST": "false",
        "PATH": f"{Path(program).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    for name in ("TS_CONFIG_FILE", "TS_DISABLE_TOKEN_AUTHORIZATION"):  # they would win over our configuration
        environment.pop(name, None)
    command = [program, "--start", "--foreground", "--ncs", "--ts-config", str(work / "config.properties")]
    command += ["--model-store", str(bundle.path.resolve() / MODELS)]
    running = start(
        "TorchServe",
        command,
        url=url,
        log=work / "server.log",
        names=bundle.names,
        environment=environment,
        folder=working,
    )
    running.notes.append("Management, metrics and gRPC listen on this machine's loopback address only.")
    return running


def _key(work: Path, kind: str) -> str:
    """A key of the server; it writes them to its working folder when it starts."""
    key: str = json.loads((work / "w" / "key_file.json").read_text())[kind]["key"]
    return key


def _all_ready(running: Running, management: str, work: Path, token: bool) -> bool:
    """Whether every model has a worker that is ready.

    Raises:
        XportError: If a worker died while it loaded its model: TorchServe would try again without end.
    """
    headers = {"Authorization": f"Bearer {_key(work, 'management')}"} if token else {}
    for name in running.names:
        status, body = get_json(f"{management}/models/{name}", headers=headers)
        if status != 200:
            _check_log(running)
            return False
        if not any(worker["status"] == "READY" for worker in body[0]["workers"]):
            _check_log(running)
            return False
    return True


def _check_log(running: Running) -> None:
    lines = running.log.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines):
        if "Backend worker process died" in line or "Load model failed" in line or "Failed to load model" in line:
            story = [_message(text) for text in lines[number : number + 30] if "Traceback" not in text]
            error = next((text for text in reversed(story) if re.match(r"[\w.]+(Error|Exception)\b", text)), story[0])
            raise XportError(f"TorchServe's worker died while it loaded a model: {error}", running.log_tail())


def _message(line: str) -> str:
    """A line of the log without time, level, thread and logger."""
    return line.rpartition(" - ")[2].strip() if " - " in line else line.strip()
