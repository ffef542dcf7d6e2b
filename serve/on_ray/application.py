"""The application as Ray Serve is told it: a deployment for each version, and the ingress before them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xport.convert.many.digest import source_digest
from xport.errors import UsageError
from xport.runtimes import require
from xport.serve.embedded.catalogue import Catalogue, Model
from xport.serve.embedded.options import ServerOptions
from xport.serve.embedded.version import Version
from xport.serve.on_ray.ingress import Ingress
from xport.serve.on_ray.replica import ModelReplica
from xport.serve.on_ray.spec import ModelSpec, Scale

_INGRESS_REQUESTS = 10_000  # at once in an ingress: what is too much is refused by the versions' own queues


def specs(models: Sequence[Model[Version]], options: ServerOptions) -> list[ModelSpec]:
    """The versions to serve: of each model the newest and those with a label.

    Raises:
        UsageError: If two models have the same name, or a label stands for a version that is not there.
    """
    found = []
    for model in Catalogue(models, options.labels).models.values():
        labels = options.labels.get(model.name, {})
        wanted = model.wanted(labels)
        for label, number in labels.items():
            if number not in wanted:
                raise UsageError(f"{model.path} has no version {number}, which {label!r} stands for.", "Check --label.")
        found += [_spec(model.name, number, path, options) for number, path in sorted(wanted.items())]
    return found


def _spec(name: str, version: int, path: Path, options: ServerOptions) -> ModelSpec:
    return ModelSpec(
        name,
        version,
        str(path.resolve()),
        source_digest(path),
        options.inputs,
        options.device,
        options.threads or 1,
        options.max_batch,
        options.max_delay,
        options.require_proof,
    )


def application(versions: Sequence[ModelSpec], scale: Scale, options: ServerOptions, *, ingresses: int) -> Any:
    """What Ray Serve runs.

    Args:
        versions: The versions.
        scale: How many replicas each has.
        options: How requests are treated.
        ingresses: How many replicas the ingress has.

    Returns:
        Ray's application.
    """
    serve = require("ray.serve")
    bound = [
        (
            spec,
            serve.deployment(ModelReplica).options(name=spec.deployment, **_settings(spec, scale, options)).bind(spec),
        )
        for spec in versions
    ]
    front = serve.deployment(Ingress).options(
        name="ingress",
        num_replicas=ingresses,
        max_ongoing_requests=_INGRESS_REQUESTS,
        ray_actor_options={"num_cpus": 0},  # it waits more than it works
        graceful_shutdown_timeout_s=options.drain_timeout,
    )
    return front.bind(bound, options)


def _settings(spec: ModelSpec, scale: Scale, options: ServerOptions) -> dict[str, Any]:
    at_once = max(8, 2 * spec.max_batch)  # a batch runs while the next one gathers
    settings: dict[str, Any] = {
        "max_ongoing_requests": at_once,
        "max_queued_requests": options.max_queue,
        "graceful_shutdown_timeout_s": options.drain_timeout,
        "ray_actor_options": {"num_cpus": spec.threads, "num_gpus": 1 if spec.device == "cuda" else 0},
    }
    if scale.least == scale.most:
        return settings | {"num_replicas": scale.least}
    range_of = {"min_replicas": scale.least, "max_replicas": scale.most, "target_ongoing_requests": at_once // 4}
    return settings | {"autoscaling_config": range_of}
