"""TF Serving's configuration files, in protobuf's text format.

Sources: tensorflow_serving/config/{model_server_config,monitoring_config}.proto,
tensorflow_serving/servables/tensorflow/session_bundle_config.proto (``BatchingParameters``),
https://www.tensorflow.org/tfx/serving/serving_config.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

METRICS = "/monitoring/prometheus/metrics"
"""Where the monitoring file puts Prometheus' page."""

_MAX_BATCH = 32
_DELAY_MICROS = 2000
_QUEUED_BATCHES = 100


def models_config(models: Mapping[str, Sequence[int]], base: PurePosixPath) -> str:
    """The file for ``--model_config_file``.

    Args:
        models: The versions of every model, by its name.
        base: The folder that holds a folder per model, absolute where the server runs: it takes no other.

    Returns:
        The text. All versions of a model are served, not only the newest.
    """
    lines = ["model_config_list {"]
    for name, versions in models.items():
        lines += [
            "  config {",
            f"    name: {_quoted(name)}",
            f"    base_path: {_quoted(str(base / name))}",
            '    model_platform: "tensorflow"',
        ]
        if len(versions) > 1:
            lines.append(
                "    model_version_policy { specific { " + " ".join(f"versions: {v}" for v in versions) + " } }"
            )
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def batching_config() -> str:
    """The file for ``--batching_parameters_file``.

    Two fields are left out on purpose: with ``allowed_batch_sizes`` the server pads batches with repeated rows, which
    costs work on a CPU; ``num_batch_threads`` is the number of processors where the server runs, not of this machine.
    """
    return (
        f"max_batch_size {{ value: {_MAX_BATCH} }}\n"
        f"batch_timeout_micros {{ value: {_DELAY_MICROS} }}\n"
        f"max_enqueued_batches {{ value: {_QUEUED_BATCHES} }}\n"
    )


def monitoring_config() -> str:
    """The file for ``--monitoring_config_file``."""
    return f'prometheus_config {{ enable: true path: "{METRICS}" }}\n'


def _quoted(text: str) -> str:
    """A string of the text format: bytes outside printable ASCII as octal escapes."""
    special = {ord('"'): '\\"', ord("\\"): "\\\\"}
    body = "".join(special.get(b) or (chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in text.encode())
    return f'"{body}"'
