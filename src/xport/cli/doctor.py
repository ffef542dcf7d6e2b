"""``xport doctor``."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from concurrent.futures import ThreadPoolExecutor

import click

from xport import __version__
from xport.cli.engines import describe
from xport.cli.options import output_options
from xport.cli.output import Output
from xport.convert.planner import missing, pip_command

_PACKAGES = {
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnx_ir": ("onnx-ir",),
    "torch": ("torch",),
    "onnxscript": ("onnxscript",),
    "safetensors": ("safetensors",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "ai_edge_litert": ("ai-edge-litert",),
}
_IMPOSTOR = "xport"


@click.command(short_help="Show versions, devices, and what is missing.")
@output_options
def doctor(output: Output) -> None:
    """Show versions and devices, what is missing, and how to get it."""
    packages = {name: _version(*distributions) for name, distributions in _PACKAGES.items()}
    lacking = missing(_PACKAGES)
    with output.progress() as tell:
        tell("looking for devices")
        devices = _devices([name for name in ("torch", "onnxruntime", "tensorflow") if name not in lacking], output)
    problems = _problems(lacking)
    engines = describe()
    if output.json:
        output.print_json(
            {
                "xport": __version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "packages": packages,
                "devices": devices,
                "missing": lacking,
                "engines": engines,
                "problems": problems,
            }
        )
        return
    output.line(f"xport {__version__}, Python {platform.python_version()} ({sys.executable}), {platform.platform()}")
    rows = [(name, version or "missing", devices.get(name, "")) for name, version in packages.items()]
    output.table(("package", "version", "devices"), rows)
    output.table(("optional engine", "state"), [(row["engine"], row["state"]) for row in engines])
    for problem in problems:
        output.line(problem)
    if not problems:
        output.line("Everything is here.")


def _version(*distributions: str) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _problems(lacking: list[str]) -> list[str]:
    problems = [f"{name} is not installed. Get it with: {pip_command([name])}" for name in lacking]
    if _version(_IMPOSTOR):
        problems.append(
            f"The distribution {_IMPOSTOR!r} (a reader of SAS files, another project) is installed and hides this "
            f"one or is hidden by it. Remove it: pip uninstall {_IMPOSTOR} && pip install --force-reinstall xport-ml"
        )
    return problems


def _devices(frameworks: list[str], output: Output) -> dict[str, str]:
    """The devices by framework, each asked in a process of its own, at the same time."""
    with ThreadPoolExecutor(len(frameworks) or 1) as pool:
        return dict(zip(frameworks, pool.map(lambda name: _ask(name, output), frameworks), strict=True))


def _ask(framework: str, output: Output) -> str:
    from xport.errors import XportError
    from xport.worker import running

    try:
        with running(verbose=output.verbose) as worker:
            found: list[str] = worker.call("xport.cli.devices:devices", framework, timeout=120)
            return ", ".join(found)
    except XportError as error:
        return f"does not start: {error.message.splitlines()[0]}"
