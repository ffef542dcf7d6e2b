"""Bundles for Kubernetes: a container of xport's own server, and Deployment, Service and HorizontalPodAutoscaler.

Sources: https://kubernetes.io/docs/reference/kubernetes-api/; the pod keeps to the profile "restricted" of
https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xport.serve.packaging import render
from xport.serve.packaging.bundle import Packed, hashes
from xport.serve.packaging.cluster import VOLUMES, Placement, container, grpc_port, placement
from xport.serve.packaging.embedded import GRPC_PORT, PORT, USER, write_image
from xport.serve.packaging.lock import PYTHON_IMAGE

_GRACE = 60
_DRAIN = 5
_BUSY = 70


def write(folder: Path, models: Sequence[Packed], *, base_image: str = PYTHON_IMAGE, **sizes: str) -> list[Packed]:
    """Write manifests and the container that they run.

    Args:
        folder: The bundle; the model lies in it already.
        models: The one model.
        base_image: What the container is made from.
        **sizes: As for `xport.serve.packaging.cluster.placement`.

    Returns:
        The models as they lie in the bundle.

    Raises:
        UsageError: If a name or a size cannot be what it should.
    """
    place = placement(models[0], model_digest(folder), **sizes)
    write_image(folder, models, base_image=base_image, with_models=True)
    for document in (deployment(place), service(place), autoscaler(place)):
        render.write_yaml(folder / "manifests" / f"{document['kind'].lower()}.yaml", document)
    values = {"place": place, "model": models[0], "port": PORT, "grpc_port": GRPC_PORT}
    render.write(folder / "README.md", "kubernetes.README.md.j2", **values)
    return list(models)


def model_digest(folder: Path) -> str:
    """A hash over the models of a bundle."""
    return hashlib.sha256(json.dumps(hashes(folder)).encode()).hexdigest()


def deployment(place: Placement) -> dict[str, Any]:
    """The Deployment: no pod goes before another is ready."""
    server = container(place, "xport")
    server["ports"].append(grpc_port())
    # Its address is taken out of the service while the pod still answers.
    server["lifecycle"] = {"preStop": {"exec": {"command": ["python3", "-c", f"import time; time.sleep({_DRAIN})"]}}}
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE,
        "securityContext": {"runAsNonRoot": True, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [server],
        "volumes": VOLUMES,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": place.metadata,
        "spec": {
            "selector": {"matchLabels": place.labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": place.labels}, "spec": pod},
        },
    }


def service(place: Placement) -> dict[str, Any]:
    """The Service, reachable inside the cluster only."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": place.metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": place.labels,
            "ports": [
                {"name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP", "appProtocol": "http"},
                {
                    "name": "grpc",
                    "port": GRPC_PORT,
                    "targetPort": GRPC_PORT,
                    "protocol": "TCP",
                    "appProtocol": "kubernetes.io/h2c",
                },
            ],
        },
    }


def autoscaler(place: Placement) -> dict[str, Any]:
    """The HorizontalPodAutoscaler; it alone sets the number of replicas."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": place.metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": place.name},
            "minReplicas": place.least,
            "maxReplicas": place.most,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": _BUSY}},
                }
            ],
        },
    }
