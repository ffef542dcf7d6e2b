"""What the wheel holds: every package, the type marker, and nothing that imports a framework by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
Save = Callable[..., Path]
AREAS = ("convert", "models", "serve", "validate")


def packages_on_disk() -> set[str]:
    found = set()
    for folder in (ROOT / "src/xport", *(ROOT / area for area in AREAS)):
        prefix = "xport" if folder.name == "xport" else f"xport.{folder.name}"
        for init in folder.rglob("__init__.py"):
            parts = init.parent.relative_to(folder).parts
            if prefix == "xport" and parts and parts[0] in AREAS:
                continue  # the links
            found.add(".".join((prefix, *parts)))
    return found


def test_every_package_is_listed() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(table["packages"]) == packages_on_disk()


def test_every_folder_of_modules_is_a_package() -> None:
    for area in AREAS:
        for module in (ROOT / area).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), module


def test_area_links_point_at_the_areas() -> None:
    for area in AREAS:
        link = ROOT / "src/xport" / area
        assert link.resolve() == ROOT / area


@pytest.mark.parametrize("module", ["xport", "xport.cli", "xport.convert", "xport.models", "xport.validate.runners"])
def test_import_brings_no_framework(module: str) -> None:
    code = (
        f"import sys, {module}; heavy = {{'torch', 'tensorflow', 'onnxruntime', 'keras', 'ai_edge_litert'}}"
        " & set(sys.modules); sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that is built of it: what is published."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


@pytest.fixture(scope="module")
def clean(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment that holds the wheel and its dependencies, and no framework."""
    place = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", place)
    run(place / "bin/python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", built[1])
    return place / "bin"


def run(*command: object, cwd: Path | None = None, code: int = 0) -> str:
    """Run a command that knows nothing of this checkout; returns what it printed."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_wheel_holds_every_module(built: tuple[Path, Path]) -> None:
    names = set(members(built[1]))
    assert "xport/py.typed" in names
    for package in packages_on_disk():
        assert package.replace(".", "/") + "/__init__.py" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"xport", "xport_ml"}


@pytest.mark.slow
def test_the_checkout_makes_the_same_wheel_as_the_source_distribution(built: tuple[Path, Path], tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    assert members(wheel) == members(built[1])


@pytest.mark.slow
def test_the_wheel_works_in_a_clean_environment(clean: Path, tmp_path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version in run(clean / "xport", "--version", cwd=tmp_path)
    assert "convert" in run(clean / "xport", "--help", cwd=tmp_path)
    assert "savedmodel" in run(clean / "xport", "formats", cwd=tmp_path).lower()
    place = run(
        clean / "python", "-c", "import xport.convert.operators.arithmetic as a; print(a.__file__)", cwd=tmp_path
    )
    assert place.startswith(str(clean.parent))


@pytest.mark.slow
def test_without_frameworks_it_says_how_to_get_them(clean: Path, save_tiny: Save, tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "tiny.onnx")
    assert "tanh" in run(clean / "xport", "inspect", model, cwd=tmp_path).lower()
    refusals = {
        ("convert", model, "--to", "savedmodel", "-o", "out"): "pip install 'xport-ml[cpu]'",
        ("convert", "zoo:digits_cnn", "--to", "onnx", "-o", "out.onnx"): "pip install 'xport-ml[torch,cpu]'",
        ("serve", model): "pip install 'xport-ml[serve]'",
        ("validate", model, model): "pip install 'xport-ml[cpu]'",
    }
    for command, fix in refusals.items():
        assert fix in run(clean / "xport", *command, cwd=tmp_path, code=1), command
    demo = run(clean / "python", "-m", "xport.models.demo", cwd=tmp_path, code=1)
    assert demo.splitlines()[-1] == "pip install 'xport-ml[cpu,demo]'"
    assert "Traceback" not in demo
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]
