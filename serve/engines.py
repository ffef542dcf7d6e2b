"""The serving engines: everything xport can package for or launch, in one table.

Adding an engine is a module with a ``write`` function (and one with a ``launch`` function where it can be started
from here), and a line in `ENGINES`. Modules are imported when an engine is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xport.errors import UsageError
from xport.formats import Format

if TYPE_CHECKING:
    from xport.serve.launching.process import Server


@dataclass(frozen=True)
class Engine:
    """A way to serve a model.

    Attributes:
        name: What ``--engine`` calls it.
        formats: What it serves as it is.
        writer: The function that writes its bundle; empty if nothing can be packaged for it.
        launcher: The function that starts it; empty if it is not started from here.
        target: What a model of another format is converted to, by the format; `default_target` otherwise.
        default_target: See ``target``.
        options: The options of ``xport package`` that it understands beside the common ones.
        single: Whether a bundle holds exactly one model.
    """

    name: str
    formats: tuple[Format, ...]
    writer: str
    launcher: str = ""
    target: Mapping[Format, Format] = field(default_factory=dict)
    default_target: Format = Format.ONNX
    options: tuple[str, ...] = ()
    single: bool = False

    def target_for(self, source: Format) -> Format:
        """The format in which a model of the format ``source`` is packaged."""
        return source if source in self.formats else self.target.get(source, self.default_target)


_EMBEDDED = (Format.TORCHSCRIPT, Format.EXPORTED, Format.ONNX, Format.SAVEDMODEL, Format.TFLITE)
_CLUSTER = ("image", "namespace", "replicas", "cpus", "memory")
"""What the engines for clusters have in common; see `xport.serve.packaging.cluster.Placement`."""

ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            "embedded",
            _EMBEDDED,
            "xport.serve.packaging.embedded:write",
            target={Format.KERAS: Format.SAVEDMODEL},
            options=("base_image",),
            single=True,
        ),
        Engine(
            "tf-serving",
            (Format.SAVEDMODEL,),
            "xport.serve.packaging.tf_serving:write",
            "xport.serve.launching.tf_serving:launch",
            default_target=Format.SAVEDMODEL,
            options=("base_image",),
        ),
        Engine(
            "torchserve",
            (Format.TORCHSCRIPT, Format.EXPORTED, Format.ONNX),
            "xport.serve.packaging.torchserve:write",
            "xport.serve.launching.torchserve:launch",
            target={Format.PYTORCH: Format.TORCHSCRIPT},
            options=("base_image",),
        ),
        Engine("ray", _EMBEDDED, "", "xport.serve.on_ray.launch:launch"),
        Engine(
            "kserve",
            _EMBEDDED,
            "xport.serve.packaging.kserve:write",
            target={Format.KERAS: Format.SAVEDMODEL},
            options=("base_image", "storage_uri", *_CLUSTER),
            single=True,
        ),
        Engine(
            "kubernetes",
            _EMBEDDED,
            "xport.serve.packaging.kubernetes:write",
            target={Format.KERAS: Format.SAVEDMODEL},
            options=("base_image", *_CLUSTER),
            single=True,
        ),
    )
}
"""Every engine by name."""


def find(name: str, *, packaged: bool = False) -> Engine:
    """The engine of a name.

    Args:
        name: One of those in `ENGINES`.
        packaged: Whether one is wanted for which something is packaged, and only those are offered.

    Raises:
        UsageError: If there is none of that name.
    """
    try:
        return ENGINES[name]
    except KeyError as error:
        offered = [engine.name for engine in ENGINES.values() if engine.writer or not packaged]
        raise UsageError(f"There is no engine {name!r}.", f"Use one of {', '.join(offered)}.") from error


def resolve(function: str) -> Any:
    """The function of an import path ``package.module:function``."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def launch(engine: str, models: Sequence[str | Path], **options: Any) -> Server:
    """Start a server of an engine and wait until it answers.

    Args:
        engine: One of those in `ENGINES` that can be started from here.
        models: A bundle that ``xport package --engine …`` wrote, or models, which are packaged into a temporary
            bundle first, with everything that is checked there.
        **options: What the engine's ``launch`` takes.

    Returns:
        The running server; a context manager that stops it.

    Raises:
        UsageError: If the engine is not started from here, or a port is in use.
        MissingRuntimeError: If the engine is not installed.
        XportError: If the server ends early or does not become ready.

    Example:
        >>> with launch("tf-serving", ["bundle"], rest_port=8501) as server:  # doctest: +SKIP
        ...     server.wait()
    """
    chosen = find(engine)
    if not chosen.launcher:
        raise UsageError(
            f"xport does not start {engine} itself.",
            f"Use one of {', '.join(name for name, e in ENGINES.items() if e.launcher)}.",
        )
    running: Server = resolve(chosen.launcher)(models, **options)
    return running
