"""What each protocol makes of a canonical status.

Source of the pairs: tensorflow_serving/util/net_http/server/public/response_code_enum.h and
tensorflow_serving/model_servers/http_server.cc; google/rpc/code.proto for what those two leave out.
"""

from __future__ import annotations

from collections.abc import Mapping

HTTP_STATUS: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "FAILED_PRECONDITION": 412,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The HTTP status of a canonical code, and of what only HTTP knows."""

GRPC_CODES: Mapping[str, str] = {
    "METHOD_NOT_ALLOWED": "UNIMPLEMENTED",
    "REQUEST_TIMEOUT": "DEADLINE_EXCEEDED",
    "PAYLOAD_TOO_LARGE": "RESOURCE_EXHAUSTED",
    "UNSUPPORTED_MEDIA_TYPE": "INVALID_ARGUMENT",
}
"""The gRPC code of what only HTTP knows; every other name is the same."""

GRPC_NUMBERS: Mapping[str, int] = {
    "OK": 0,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}
"""The numbers of google/rpc/code.proto that a model's status may carry."""
