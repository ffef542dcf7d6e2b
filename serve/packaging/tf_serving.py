"""Bundles for TF Serving: numbered SavedModels with warm-up requests, configuration, and a container around them.

Sources: https://www.tensorflow.org/tfx/serving/serving_config, …/docker, …/saved_model_warmup.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from xport.serve import warmup
from xport.serve.packaging import render
from xport.serve.packaging.bundle import MODELS, Packed
from xport.serve.packaging.compose import compose
from xport.serve.packaging.tf_serving_config import METRICS, batching_config, models_config, monitoring_config

IMAGE = "docker.io/tensorflow/serving:2.19.1"
"""The image that containers are made from unless another is named."""
INSIDE = PurePosixPath("/bundle")
"""Where a bundle lies inside a container; TF Serving wants absolute paths in its configuration."""
REST_PORT, GRPC_PORT = 8501, 8500
_USER = 65532


def write(folder: Path, models: Sequence[Packed], *, base_image: str = IMAGE) -> list[Packed]:
    """Write what TF Serving needs beside its models.

    Args:
        folder: The bundle; the models lie in it already, in numbered folders.
        models: What is in it.
        base_image: The image with ``tensorflow_model_server``.

    Returns:
        The models as they lie in the bundle.
    """
    for model in models:
        if model.cases:
            warmup.write(model.path, [inputs for inputs, _ in model.cases], model_name=model.name)
    versions: dict[str, list[int]] = {}
    for model in models:
        versions.setdefault(model.name, []).append(model.version)
    config = folder / "config"
    config.mkdir()
    (config / "models.config").write_text(models_config(versions, INSIDE / MODELS), encoding="utf-8")
    (config / "batching.config").write_text(batching_config(), encoding="utf-8")
    (config / "monitoring.config").write_text(monitoring_config(), encoding="utf-8")
    reasons = {model.name: model.batching for model in models if model.batching}
    command = server_command(INSIDE / "config", batching=not reasons)
    values = {
        "image": base_image,
        "command": command,
        "names": list(versions),
        "first": next(iter(versions)),
        "inside": INSIDE,
        "rest_port": REST_PORT,
        "grpc_port": GRPC_PORT,
        "user": _USER,
        "health": health_command(list(versions), REST_PORT),
    }
    render.write(folder / "Dockerfile", "tf_serving.Dockerfile.j2", **values)
    render.write_yaml(folder / "compose.yaml", compose("tf-serving", {REST_PORT: REST_PORT, GRPC_PORT: GRPC_PORT}))
    native = server_command(PurePosixPath("config"), batching=not reasons)
    native[1] = "--model_config_file=/tmp/models.config"
    render.write(
        folder / "README.md",
        "tf_serving.README.md.j2",
        **values,
        native=shlex.join(native),
        reasons=reasons,
        models=models,
        metrics=METRICS,
    )
    return list(models)


def server_command(
    config: PurePosixPath, *, batching: bool, rest_port: int = REST_PORT, grpc_port: int = GRPC_PORT
) -> list[str]:
    """The command line of the server.

    Args:
        config: The folder with the configuration files.
        batching: Whether requests may be joined. The switch is the server's, not a model's.
        rest_port: For HTTP.
        grpc_port: For gRPC.

    Returns:
        The words of the command.
    """
    words = [
        "tensorflow_model_server",
        f"--model_config_file={config / 'models.config'}",
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--monitoring_config_file={config / 'monitoring.config'}",
    ]
    if batching:
        words += ["--enable_batching=true", f"--batching_parameters_file={config / 'batching.config'}"]
    return words


def health_command(names: Sequence[str], port: int) -> list[str]:
    """A health check for an image that has bash but no HTTP client: every model has an available version."""
    asked = "; ".join(
        f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET /v1/models/{name} HTTP/1.0\\r\\n\\r\\n' >&3 "
        "&& grep -q '\"AVAILABLE\"' <&3 || exit 1"
        for name in names
    )
    return ["bash", "-c", asked]
