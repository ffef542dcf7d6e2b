"""Bundles for TorchServe: one ``.mar`` a model, with our handler, the server's configuration, and a container.

A ``.mar`` is a zip file with ``MAR-INF/MANIFEST.json``; it is written here without the archiver, with fixed dates, so
that the same model gives the same bytes. The handler answers the golden inputs before the archive is written.
Sources: https://github.com/pytorch/serve, model-archiver/README.md and docs/configuration.md (0.12).
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xport.errors import UnsupportedError, UsageError
from xport.formats import Format
from xport.serve import torchserve_handler, torchserve_tensors
from xport.serve.packaging import render
from xport.serve.packaging.bundle import MODELS, Packed
from xport.serve.packaging.compose import compose
from xport.serve.packaging.lock import PYTHON_IMAGE, lock
from xport.signature import python_names
from xport.worker import running

IMAGE = PYTHON_IMAGE
"""Debian 12 has Java 17, which TorchServe 0.12 wants."""
INSIDE = "/bundle"
PORT = 8080
TMPFS = "/run/xport:exec,mode=1777"
"""The server's working folder: Java loads what it unpacks there, so that "noexec" would break it."""
HANDLER = "xport_handler.py"
TENSORS = "xport_tensors.py"
BATCH = 16
"""How many requests TorchServe hands to the handler at most, where they may be joined."""
_DELAY_MS = 2
_RESPONSE_SECONDS = 120
_USER = 65532
_DATE = (1980, 1, 1, 0, 0, 0)


def write(folder: Path, models: Sequence[Packed], *, base_image: str = IMAGE) -> list[Packed]:
    """Write what TorchServe needs beside its models.

    Args:
        folder: The bundle; the models lie in it already. Each becomes an archive in their place.
        models: What is in it.
        base_image: A Debian image with Python.

    Returns:
        The models as they lie in the bundle now.

    Raises:
        UsageError: If two versions of one model are given.
        UnsupportedError: If a dtype cannot travel in a request.
        ParityError: If the handler's answers differ from the golden outputs.
    """
    names = [model.name for model in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(
            f"{', '.join(sorted(twice))} has several versions; a TorchServe bundle holds one of each model.",
            "Name the one: xport package NAME=PATH/VERSION …",
        )
    for model in models:
        _check_dtypes(model)
    archived = [replace(model, path=_write_archive(folder, model)) for model in models]
    packages = {"torch", "torchserve", "pyyaml", "numpy"}
    if any(model.format is Format.ONNX for model in models):
        packages.add("onnxruntime")
    render.write_lines(folder / "requirements.lock", lock(sorted(packages)))
    config = {"models": names, "inside": INSIDE, "port": PORT, "user": _USER, "image": base_image, "tmpfs": TMPFS}
    render.write(
        folder / "config.properties", "torchserve.properties.j2", **server_settings(f"{INSIDE}/{MODELS}", names)
    )
    shutil.copyfile(Path(__file__).parent / "torchserve_health.py", folder / "health.py")
    render.write(folder / "Dockerfile", "torchserve.Dockerfile.j2", **config)
    render.write_yaml(folder / "compose.yaml", compose("torchserve", {PORT: PORT}, writable=[TMPFS]))
    render.write(folder / "README.md", "torchserve.README.md.j2", **config, packed=models)
    return archived


def server_settings(
    store: str,
    names: Sequence[str],
    *,
    host: str = "0.0.0.0",
    ports: Sequence[int] = (PORT, 8081, 8082, 7070, 7071),
    token: bool = True,
) -> dict[str, Any]:
    """The values of ``config.properties``.

    Args:
        store: The folder with the archives.
        names: The models to load.
        host: Where predictions are served; management and metrics stay on loopback.
        ports: For predictions, management, metrics, and the two of gRPC.
        token: Whether requests need a token.

    Returns:
        What the template names.
    """
    keys = ("port", "management_port", "metrics_port", "grpc_port", "grpc_management_port")
    archives = [f"{name}.mar" for name in names]
    return {**dict(zip(keys, ports, strict=True)), "host": host, "store": store, "archives": archives, "token": token}


def _check_dtypes(model: Packed) -> None:
    for spec in (*model.signature.inputs, *model.signature.outputs):
        if spec.dtype not in torchserve_tensors.DTYPES or (spec.dtype == "string" and model.format is not Format.ONNX):
            raise UnsupportedError(
                f"{spec} of {model.name} cannot travel in a request to TorchServe; "
                f"what can are {', '.join(torchserve_tensors.DTYPES)}.",
                "Cast it inside the model, or use --engine embedded.",
            )


def _write_archive(folder: Path, model: Packed) -> Path:
    """Turn the model's folder into ``NAME.mar``, after the handler has answered the golden inputs from it."""
    room = folder / MODELS / model.name
    content = model.path.parent
    _copy_handler(content)
    description = {
        "name": model.name,
        "format": model.format.value,
        "file": model.path.name,
        "signature": model.signature.to_json(),
        "arguments": python_names([spec.name for spec in model.signature.inputs]),
        "batching": not model.batching,
    }
    text = json.dumps(description, indent=1, ensure_ascii=False)
    (content / torchserve_handler.DESCRIPTION).write_text(text, encoding="utf-8")
    render.write_yaml(content / "model-config.yaml", _worker_settings(model))
    if model.cases:
        with running() as worker:
            worker.call("xport.serve.packaging.torchserve_replay:replay", content, model.cases, model.proof)
    archive = folder / MODELS / f"{model.name}.mar"
    _zip(content, archive, _manifest(model))
    shutil.rmtree(room)
    return archive


def _copy_handler(content: Path) -> None:
    """The handler and its part, which find each other in an archive without xport around them."""
    for module, name in ((torchserve_handler, HANDLER), (torchserve_tensors, TENSORS)):
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        text = text.replace(f"from {torchserve_tensors.__name__} import", f"from {Path(TENSORS).stem} import")
        (content / name).write_text(text, encoding="utf-8")


def _worker_settings(model: Packed) -> dict[str, int]:
    return {
        "minWorkers": 1,
        "maxWorkers": 4,
        "batchSize": 1 if model.batching else BATCH,
        "maxBatchDelay": _DELAY_MS,
        "responseTimeout": _RESPONSE_SECONDS,
    }


def _manifest(model: Packed) -> dict[str, Any]:
    return {
        "createdOn": "01/01/1980 00:00:00",
        "runtime": "python",
        "model": {
            "modelName": model.name,
            "serializedFile": model.path.name,
            "handler": HANDLER,
            "modelVersion": f"{model.version}.0",
            "configFile": "model-config.yaml",
        },
        "archiverVersion": "0.12.0",
    }


def _zip(content: Path, archive: Path, manifest: Mapping[str, Any]) -> None:
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(zipfile.ZipInfo("MAR-INF/MANIFEST.json", _DATE), json.dumps(manifest, indent=1))
        for file in sorted(path for path in content.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(file.relative_to(content).as_posix(), _DATE)
            with file.open("rb") as source, target.open(info, "w", force_zip64=True) as member:
                shutil.copyfileobj(source, member, 2**20)
