"""Where a served model is: what a URL says of the server, the protocol, the model and its version."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from xport.errors import UsageError
from xport.signature import Signature

SCHEMES = ("http", "https", "grpc", "grpcs")
"""What a served model's URL begins with."""

_MODEL = re.compile(
    r"(?P<prefix>.*?)/(?P<api>v1/models|v2/models|predictions)/(?P<model>[^/:]+)"
    r"(?:/(?:versions/)?(?P<version>[\d.]+)|/labels/(?P<label>[^/:]+))?"
    r"(?:/infer|/metadata|/ready|:\w+)?/?",
    re.IGNORECASE,
)
_PROTOCOLS = {"v1/models": "tf-serving", "v2/models": "v2", "predictions": "torchserve"}


@dataclass(frozen=True)
class Served:
    """A model behind an endpoint, and how to ask it; plain data, which can be sent to a worker.

    Attributes:
        url: The server: scheme, host, port and what stands before the protocol's own paths.
        protocol: ``tf-serving``, ``v2``, ``torchserve``, or ``auto``, which asks the server.
        form: How requests are written, one of the protocol's forms; empty for the best that the server takes.
        model: The model's name; empty where the server has only one.
        version: Its version; empty for the server's choice.
        label: A label of TF Serving in place of a version.
        signature: A signature of TF Serving; empty for the default one.
        headers: Sent with every request.
        timeout: Seconds a request may take.
        ca_file: The certificates to trust; empty for the system's.
        interface: What the model takes and gives, for servers that do not tell.
    """

    url: str
    protocol: str = "auto"
    form: str = ""
    model: str = ""
    version: str = ""
    label: str = ""
    signature: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 30.0
    ca_file: str = ""
    interface: Signature | None = None

    @property
    def over_grpc(self) -> bool:
        """Whether requests go over gRPC."""
        return self.url.startswith("grpc")

    @property
    def name(self) -> str:
        """What messages and reports call it; without headers and passwords."""
        paths = {"tf-serving": "/v1/models/", "v2": "/v2/models/", "torchserve": "/predictions/"}
        text = self.url
        if self.model:
            text += paths.get(self.protocol, "/" if self.over_grpc else " ") + self.model
        if self.version:
            text += f"/{self.version}" if self.protocol == "torchserve" else f"/versions/{self.version}"
        if self.label:
            text += f"/labels/{self.label}"
        how = ", ".join(part for part in (self.form if self.form != "grpc" else "", self.signature) if part)
        return f"{text} ({how})" if how else text


def is_url(given: Any) -> bool:
    """Whether something names a served model."""
    return isinstance(given, str) and given.partition("://")[0].lower() in SCHEMES and "://" in given


def parse_url(text: str, **known: Any) -> Served:
    """Read the URL of a served model.

    Args:
        text: A server (``http://host:8501``) or a model on it as the protocols write it
            (``…/v1/models/NAME[/versions/N]``, ``…/v2/models/NAME``, ``…/predictions/NAME``, ``grpc://host:8500/NAME``).
        **known: Fields of `Served` that are known otherwise; empty ones leave what the URL says.

    Returns:
        Where the model is.

    Raises:
        UsageError: If the URL is malformed, or contradicts what is known.
    """
    try:
        place = urlsplit(text)
        port = place.port
    except ValueError as error:
        raise UsageError(f"Malformed URL {text!r}: {error}.", "Write it like http://127.0.0.1:8501") from error
    scheme = place.scheme.lower()
    if scheme not in SCHEMES or not place.hostname:
        raise UsageError(f"Malformed URL {text!r}.", "Write it like http://127.0.0.1:8501/v1/models/NAME")
    if scheme.startswith("grpc") and port is None:
        raise UsageError(f"The gRPC URL {text!r} has no port.", "Write it like grpc://127.0.0.1:8500/NAME")
    found, prefix = _from_path(place.path)
    if scheme.startswith("grpc"):
        found["model"], prefix = found.get("model") or prefix.strip("/"), ""
    headers: tuple[tuple[str, str], ...] = tuple(known.pop("headers", ()))
    if place.username is not None:
        pair = f"{unquote(place.username)}:{unquote(place.password or '')}"
        headers = (*headers, ("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    for field, value in known.items():
        if value in ("", None, "auto"):
            continue
        if found.get(field, value) != value:
            raise UsageError(
                f"The URL says {field} {found[field]!r}, the options say {value!r}.", "Leave one of them out."
            )
        found[field] = value
    host = place.netloc.rpartition("@")[2]
    return Served(f"{scheme}://{host}{prefix}", headers=headers, **found)


def _from_path(path: str) -> tuple[dict[str, Any], str]:
    """What a path tells, and what stands before it."""
    match = _MODEL.fullmatch(path)
    if match is None:
        bare = re.sub(r"/v[12](/models)?/?$", "", path)
        return {}, bare.rstrip("/")
    found = {"protocol": _PROTOCOLS[match["api"].lower()], "model": unquote(match["model"])}
    found |= {key: unquote(match[key]) for key in ("version", "label") if match[key]}
    return found, match["prefix"].rstrip("/")
