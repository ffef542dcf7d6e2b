"""The paths of TF Serving's REST.

Source: tensorflow_serving/model_servers/http_rest_api_util.cc.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from urllib.parse import unquote

from xport.errors import ServingError

_WHICH = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICTION = re.compile(rf"/v1/models/([^/:]+){_WHICH}:(classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(rf"/v1/models(?:/([^/:]+))?{_WHICH}(?:/(metadata))?", re.IGNORECASE)
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Target:
    """What a request is about.

    Attributes:
        name: The model's name; empty for all of them.
        version: The version asked for.
        label: The label asked for instead.
        action: ``predict``, ``classify``, ``regress``, ``metadata`` or ``status``.
    """

    name: str
    version: int | None
    label: str
    action: str


@functools.lru_cache(1024)
def parse_path(method: str, path: str) -> Target:
    """What a request is about.

    Args:
        method: The HTTP method.
        path: The path as it was sent, without the query.

    Raises:
        ServingError: If it is no path of this protocol, in TF Serving's words.
    """
    pattern = {"POST": _PREDICTION, "GET": _STATUS}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise ServingError(f"Malformed request: {method} {path}")
    name, version, label, action = (group or "" for group in match.groups())
    if version and int(version) > _LARGEST:
        raise ServingError(f"Failed to convert version: {version} to numeric.")
    return Target(unquote(name), int(version) if version else None, unquote(label), action.lower() or "status")
