"""What manifests for Kubernetes and KServe share: names, sizes, and a container that may do nothing but serve."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xport.errors import UsageError
from xport.serve.packaging.bundle import Packed
from xport.serve.packaging.embedded import GRPC_PORT, LIVE, PORT, READY, USER

# Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|[MGTPE]|[KMGTPE]i)?")
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
# Registry and path, then a tag or a digest; source: https://github.com/distribution/reference.
_IMAGE = re.compile(r"[a-z0-9]+[\w./:-]*(@sha256:[0-9a-f]{64})?")
_NAME_LENGTH = 50  # hosts are made of it: NAME-predictor.NAMESPACE


@dataclass(frozen=True)
class Placement:
    """Where and how large a service is.

    Attributes:
        name: What the cluster calls it.
        image: The container.
        namespace: Where it runs; empty for the one of whoever applies it.
        least: The fewest replicas.
        most: The most replicas.
        cpus: Processors for each.
        memory: Memory for each.
    """

    name: str
    image: str
    namespace: str
    least: int
    most: int
    cpus: str
    memory: str

    @property
    def metadata(self) -> dict[str, Any]:
        """Name, namespace and labels."""
        place = {"namespace": self.namespace} if self.namespace else {}
        return {"name": self.name, **place, "labels": self.labels}

    @property
    def labels(self) -> dict[str, str]:
        """What finds the service's pods."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/managed-by": "xport"}

    @property
    def resources(self) -> dict[str, Any]:
        """Requests equal limits: no neighbour takes what latency was measured with."""
        size = {"cpu": self.cpus, "memory": self.memory}
        return {"requests": dict(size), "limits": dict(size)}


def placement(
    model: Packed,
    digest: str,
    *,
    image: str = "",
    namespace: str = "",
    replicas: str = "1:4",
    cpus: str = "1",
    memory: str = "2Gi",
) -> Placement:
    """Check and gather what a user said about a service.

    Args:
        model: What it serves.
        digest: Tells this content from any other; the default image's tag.
        image: What the built container is called.
        namespace: Where it runs.
        replicas: The fewest and the most, ``1:4``.
        cpus: Processors for each.
        memory: Memory for each.

    Returns:
        The placement.

    Raises:
        UsageError: If one cannot be what it should.
    """
    name = re.sub(r"[^a-z0-9]+", "-", model.name.lower()).strip("-")
    name = name if _LABEL.fullmatch(name) else f"model-{name}"
    if len(name) > _NAME_LENGTH:
        raise UsageError(
            f"{name!r} is too long for a cluster: {len(name)} letters, {_NAME_LENGTH} may be.",
            "Give the model a shorter name: xport package NAME=MODEL …",
        )
    least, most = _replicas(replicas)
    _check("--namespace", namespace, _LABEL, "a word of small letters, digits and '-'")
    _check("--cpus", cpus, _QUANTITY, "a quantity such as 2 or 500m")
    _check("--memory", memory, _QUANTITY, "a quantity such as 2Gi or 512Mi")
    _check("--image", image, _IMAGE, "an image's name such as registry.example.com/team/net:3")
    return Placement(name, image or f"localhost/xport-{name}:{digest[:12]}", namespace, least, most, cpus, memory)


def _check(option: str, value: str, pattern: re.Pattern[str], what: str) -> None:
    if value and not pattern.fullmatch(value):
        raise UsageError(f"{option} is {value!r}, expected {what}.", f"Correct {option}.")


def _replicas(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise UsageError(
            f"--replicas is {text!r}, expected the fewest and the most, with at least one.", "Write --replicas 1:4"
        )
    return least, most


def container(place: Placement, name: str, *, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """The container of xport's own server: not root, nothing writable but memory, probes.

    Args:
        place: Image and sizes.
        name: What the pod calls it.
        arguments: What follows the image's entrypoint.

    Returns:
        An entry of ``containers``.
    """
    return {
        "name": name,
        "image": place.image,
        **({"args": list(arguments)} if arguments else {}),
        "ports": [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}],
        "resources": place.resources,
        "startupProbe": {**_probe(READY), "periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": {**_probe(READY), "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**_probe(LIVE), "periodSeconds": 10, "failureThreshold": 3},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


VOLUMES = [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}}]
"""The only writable folder of `container`."""


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": PORT}, "timeoutSeconds": 4}


def grpc_port() -> dict[str, Any]:
    """The port for gRPC, where more than one may be named."""
    return {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"}
