"""Compose files: ports on loopback, nothing writable, no capabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def compose(name: str, ports: Mapping[int, int], *, writable: Sequence[str] = ("/tmp",)) -> dict[str, Any]:
    """A compose file for a bundle's container.

    Args:
        name: The service.
        ports: The container's port by the one on this machine, which only this machine can reach.
        writable: Folders in memory that the server may write to.

    Returns:
        What the file holds.
    """
    return {
        "services": {
            name: {
                "build": ".",
                "image": f"localhost/xport-{name}",
                "ports": [f"127.0.0.1:{outside}:{inside}" for outside, inside in ports.items()],
                "read_only": True,
                "tmpfs": list(writable),
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges:true"],
                "restart": "unless-stopped",
            }
        }
    }
