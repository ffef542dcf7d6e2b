"""What the wheel holds: every package, the type marker, and nothing that imports a framework by itself."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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


@pytest.mark.slow
def test_wheel_holds_every_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "xport/py.typed" in names
    for package in packages_on_disk():
        assert package.replace(".", "/") + "/__init__.py" in names
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    code = "import xport.convert.operators.arithmetic as a; print(a.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={"PYTHONPATH": str(target)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(target))
