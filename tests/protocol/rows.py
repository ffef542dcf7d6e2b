"""One rule of TF Serving's REST: what is sent, and the exact status and body that come back.

`error` holds TF Serving's own words. This server puts the name of the tensor at fault behind them (`more`); against
another server only the words are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

P = "/v1/models"
TENSORINFO = "multiple input tensors required as per tensorinfo_map"
PREDICT = "tensorflow/serving/predict"
X = "(input x:float32[batch,4])"
A = "(input a:float32[batch,2])"
N = "(input n:int64[batch])"
ONE, TWO = [1, 2, 3, 4], [0.5, 0, -1, 2]
Y1, Y2 = [3.0, 8.0, 13.0], [-3.5, 3.0, 5.0]
NAN = float("nan")


@dataclass(frozen=True)
class Row:
    """One request.

    Attributes:
        rule: What it is about.
        path: Behind ``/v1/models``.
        body: Sent as JSON if it is no string; None sends a GET.
        status: The status that is expected.
        want: The exact JSON of the answer; None if ``error`` says it.
        error: TF Serving's words.
        more: What this server puts behind them.
        method: The HTTP method, if it is not what the body says.
        ours: Whether only this server answers so.
    """

    rule: str
    path: str
    body: Any = None
    status: int = 200
    want: Any = None
    error: str = ""
    more: str = ""
    method: str = ""
    ours: bool = False


def bad(rule: str, body: Any, error: str, more: str = "", *, path: str = "/tiny:predict", status: int = 400) -> Row:
    """A refused prediction."""
    return Row(rule, path, body, status, error=error, more=f" {more}" if more else "")


def element(index: int, text: str, key: str = "") -> str:
    """TF Serving's frame around the error of one instance."""
    label = f" key: {key}" if key else ""
    return f"Failed to process element: {index}{label} of 'instances' list. Error: INVALID_ARGUMENT: {text}"


def wrong_type(shown: str, kind: str, dtype: str) -> str:
    """TF Serving's words for a value of the wrong type."""
    return f"JSON Value: {shown} Type: {kind} is not of expected type: {dtype}"


def rows(instances: Any) -> dict[str, Any]:
    """A body in row form."""
    return {"instances": instances}


def columns(inputs: Any) -> dict[str, Any]:
    """A body in column form."""
    return {"inputs": inputs}


PAIR_ROW = {"a": [1, 2], "n": 3}
PAIR_OUT = {"total": 6.0, "half": [0.5, 1.0], "positive": True}
BOTH = 'JSON Value: {\n    "instances": [\n        1\n    ],\n    "inputs": [\n        1\n    ]\n} '
