"""Bundles for xport's own server: the model, xport itself as a wheel, a lock of what it needs, and a container.

The wheel is made of the very code that proved the model; nothing of xport is downloaded when the container is built.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from xport.convert.routes import RUNTIME_OF
from xport.errors import MissingRuntimeError
from xport.serve.packaging import render
from xport.serve.packaging.bundle import MODELS, Packed
from xport.serve.packaging.compose import compose
from xport.serve.packaging.lock import PYTHON_IMAGE, lock, own_distribution
from xport.serve.packaging.wheel import write_wheel

INSIDE = "/bundle"
PORT, GRPC_PORT = 8080, 9000
USER = 65532
READY, LIVE = "/v2/health/ready", "/v2/health/live"


def write(folder: Path, models: Sequence[Packed], *, base_image: str = PYTHON_IMAGE) -> list[Packed]:
    """Write what a container needs beside its model.

    Args:
        folder: The bundle; the model lies in it already.
        models: The one model.
        base_image: An image with the Python of this machine.

    Returns:
        The models as they lie in the bundle.
    """
    write_image(folder, models, base_image=base_image, with_models=True)
    render.write_yaml(folder / "compose.yaml", compose("embedded", {PORT: PORT, GRPC_PORT: GRPC_PORT}))
    render.write(
        folder / "README.md",
        "embedded.README.md.j2",
        model=models[0],
        port=PORT,
        grpc_port=GRPC_PORT,
        place=f"{MODELS}/{models[0].name}",
    )
    return list(models)


def write_image(folder: Path, models: Sequence[Packed], *, base_image: str, with_models: bool) -> None:
    """Write Dockerfile, lock and wheel.

    Args:
        folder: Where to.
        models: What will be served: it decides which runtimes are installed.
        base_image: An image with the Python of this machine.
        with_models: Whether the image holds the models; where it does not, its arguments name them.
    """
    folder.mkdir(exist_ok=True)
    wheel = write_wheel(folder)
    runtimes = sorted({_runtime(model) for model in models})
    own = own_distribution().metadata["Name"]
    lines = [line for line in lock([f"{own}[serve]", *runtimes]) if not line.startswith(f"{own}==")]
    render.write_lines(folder / "requirements.lock", lines)
    render.write(
        folder / "Dockerfile",
        "embedded.Dockerfile.j2",
        image=base_image,
        inside=INSIDE,
        wheel=wheel.name,
        user=USER,
        port=PORT,
        grpc_port=GRPC_PORT,
        ready=READY,
        models=MODELS if with_models else "",
        command=["python3", "-m", "xport", "serve"],
        arguments=serve_arguments([f"{model.name}={INSIDE}/{MODELS}/{model.name}" for model in models]),
    )


def serve_arguments(models: Sequence[str]) -> list[str]:
    """What follows ``xport serve`` inside a container, where every address is the container's own."""
    listen = ["--host", "0.0.0.0", "--port", str(PORT), "--grpc-port", str(GRPC_PORT)]
    return [*models, *listen, "--poll", "0", "--log-format", "json"]


def _runtime(model: Packed) -> str:
    """The distribution, as it is installed here, that runs a model."""
    package = RUNTIME_OF[model.format]
    found = importlib.metadata.packages_distributions().get(package)
    if not found:
        raise MissingRuntimeError(
            f"{package} is not installed, so that the version to lock is not known.",
            "pip install 'xport-ml[cpu]'",
        )
    return found[0]
