"""The converters that `field.py` sets side by side, each in an environment of its own, and how each is called.

The others pin packages against ours, so each has a virtual environment under ``build/field``, made from
the package registry when it is first wanted. What cannot be had is said with the reason and left out.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from field_models import Subject
from measure import Cost, run

HERE = Path(__file__).parent
ROOT = HERE.parent
HOMES = ROOT / "build" / "field"
LIMIT = 300.0
"""Seconds that one conversion may take."""
CPU_TORCH = ("nvidia-", "triton-", "cuda-")
"""What a build of torch for GPUs brings along: gigabytes that this benchmark has no use for."""


@dataclass(frozen=True)
class Engine:
    """A converter.

    Attributes:
        name: What the table calls it.
        package: What is installed; empty for xport itself.
        python: The oldest Python it runs on.
        targets: What it writes; ``pytorch`` is a module in memory.
        takes: ``onnx``, or ``module`` for the PyTorch module itself.
    """

    name: str
    package: tuple[str, ...]
    python: tuple[int, int]
    targets: tuple[str, ...]
    takes: str = "onnx"


_ONNX2TF = ("onnx2tf[tensorflow]==2.6.9",)
_LITERT_TORCH = ("litert-torch==0.10.0", "torch==2.13.0", "transformers==5.23.0")

ENGINES = (
    Engine("xport", (), (3, 11), ("savedmodel", "tflite", "pytorch")),
    Engine("xport --no-verify", (), (3, 11), ("savedmodel", "tflite", "pytorch")),
    Engine("onnx2tf 2.6.9", _ONNX2TF, (3, 12), ("savedmodel", "tflite")),
    Engine("onnx2tf 2.6.9 by TensorFlow", _ONNX2TF, (3, 12), ("savedmodel", "tflite")),
    Engine("onnx2tf 2.6.9, sizes fixed", _ONNX2TF, (3, 12), ("savedmodel", "tflite")),
    Engine("litert-torch 0.10.0", _LITERT_TORCH, (3, 11), ("tflite",), "module"),
    Engine("onnx2torch 1.5.15", ("onnx2torch==1.5.15", "torch==2.13.0"), (3, 11), ("pytorch",)),
)


class AbsentError(Exception):
    """An engine cannot be had here; the message says why."""


def interpreter(wanted: tuple[int, int]) -> str:
    """A Python of at least a version: this one, one on the PATH, or one that pyenv keeps.

    Raises:
        AbsentError: If there is none.
    """
    names = [f"python3.{minor}" for minor in range(wanted[1], wanted[1] + 3)]
    found = [sys.executable, *filter(None, map(shutil.which, names))]
    kept = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found += [str(path) for path in sorted(kept.glob("3.*/bin/python"))]
    for path in found:
        told = subprocess.run([path, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
        if told.returncode == 0 and tuple(map(int, told.stdout.split())) >= wanted:
            return path
    raise AbsentError(f"it needs Python {wanted[0]}.{wanted[1]} or newer, and none was found")


def python_of(engine: Engine) -> str:
    """The interpreter of an engine's environment, which is made if it is not there.

    Raises:
        AbsentError: If it cannot be installed.
    """
    if not engine.package:
        return sys.executable
    home = HOMES / engine.package[0].partition("=")[0].partition("[")[0]
    python = home / "bin" / "python"
    done = home / "installed"
    wanted = "\n".join(engine.package) + "\n"
    if done.exists() and done.read_text() == wanted:
        return str(python)
    print(f"== installing {' '.join(engine.package)} into {home.relative_to(ROOT)}", file=sys.stderr, flush=True)
    subprocess.run([interpreter(engine.python), "-m", "venv", "--clear", str(home)], check=True, capture_output=True)
    _pip(python, "--dry-run", *engine.package)
    _pip(python, *engine.package)
    done.write_text(wanted)
    return str(python)


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise AbsentError(f"pip could not install it: {(result.stderr.strip().splitlines() or ['no reason'])[-1]}")
    heavy = [word for word in result.stdout.split() if word.startswith(CPU_TORCH)]
    if "--dry-run" in arguments and heavy:
        raise AbsentError(f"the registry offers torch with CUDA only ({heavy[0]} and more)")


def environment(python: str = sys.executable) -> dict[str, str]:
    """The environment of an engine: as a user has it, who lets Python keep the code that it compiles.

    The programs beside the engine's interpreter are found, as where its environment is activated: onnx2tf starts
    onnxsim. Only ONNX Runtime's telemetry is off in all of them.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    programs = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", os.defpath)])
    ours = os.pathsep.join([str(ROOT / "src"), str(HERE)])
    return kept | {"ORT_DISABLE_TELEMETRY": "1", "PATH": programs, "PYTHONPATH": ours}


def compile_xport() -> None:
    """Compile this checkout once, as the installation of a wheel does for the other engines."""
    for folder in ("src", "convert", "validate", "serve", "models"):
        compileall.compile_dir(ROOT / folder, quiet=1)


def convert(
    engine: Engine, model: Subject, made: tuple[Path, Path], target: str, folder: Path
) -> tuple[Cost, Path | None]:
    """Convert one model in a process of its own, at most `LIMIT` seconds.

    Args:
        engine: The converter.
        model: The model.
        made: The model as ONNX, and its inputs.
        target: One of the engine's targets.
        folder: An empty folder for what the engine writes.

    Returns:
        What it took, and the artifact; None if it wrote none.

    Raises:
        AbsentError: If the engine cannot be had.
    """
    python = python_of(engine)
    command, artifact = _command(engine, python, model, made, target, folder)
    cost = run(command, env=environment(python), limit=LIMIT)
    there = (artifact / "saved_model.pb").exists() if target == "savedmodel" else artifact.exists()
    return cost, artifact if there and not cost.code else None


def _command(
    engine: Engine, python: str, model: Subject, made: tuple[Path, Path], target: str, folder: Path
) -> tuple[list[str], Path]:
    """What starts an engine, and where it will put the artifact."""
    onnx, cases = made
    if target == "pytorch":
        name = engine.name if not engine.package else engine.name.partition(" ")[0]
        artifact = folder / "answers.npz"
        return [python, str(HERE / "run_to_module.py"), name, str(onnx), str(cases), str(artifact)], artifact
    if not engine.package:
        artifact = folder / f"out.{target}"
        command = [python, "-m", "xport", "convert", str(onnx), "--to", target, "-o", str(artifact)]
        return [*command, *(["--no-verify"] if "--no-verify" in engine.name else [])], artifact
    if engine.takes == "module":
        artifact = folder / "out.tflite"
        return [python, str(HERE / "run_litert_torch.py"), model.word, str(artifact)], artifact
    command = [str(Path(python).with_name("onnx2tf")), "-i", str(onnx), "-o", str(folder)]
    if "TensorFlow" in engine.name:
        command += ["-tb", "tf_converter"]
    elif target == "savedmodel":
        command += ["-fdosm"]
    if "fixed" in engine.name:
        fixed = {name: array.shape for name, array in model.examples(2).items()}
        command += ["-ois", *(f"{name}:{','.join(map(str, shape))}" for name, shape in fixed.items())]
    return command, folder if target == "savedmodel" else folder / f"{onnx.stem}_float32.tflite"
