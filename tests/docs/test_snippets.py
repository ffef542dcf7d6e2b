"""Every block of commands or code in README and docs is run by a test, or is named here with the reason why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from onnx import helper

from tests.docs.pages import PAGES, ROOT, Block, blocks, name_of
from tests.docs.test_walks import WALKED
from xport.convert.many.plan_check import check_plan
from xport.convert.many.plan_text import read_plan

OUTPUT = ("text", "json")
"""Blocks that show what something prints or holds."""
RUN = {
    **{(page, language): "tests/docs/test_walks.py" for page in WALKED for language in ("console", "python")},
    ("README.md", "console"): "tests/test_readme.py",
    ("README.md", "python"): "tests/test_readme.py",
}
"""The test that runs all blocks of a language on a page."""

_FILES = "needs files of the reader's own; the commands are checked by test_commands.py, the work by "
_SERVER = "needs a server that is not on every machine; a stand-in or the real one answers in "
NOT_RUN = {
    (
        "README.md",
        "make demo",
    ): "minutes of training; tests/models/test_digits.py trains; make test is what runs this",
    ("README.md", "pip install -c constraints.txt '.[cpu]'"): "installs; tests/test_packaging.py installs the wheel",
    (
        "README.md",
        "pip install -c constraints.txt '.[cpu,serve]'",
    ): "installs; tests/serve and tests/deploy",
    ("README.md", "xport probe http://127.0.0.1:8501"): _SERVER + "tests/probing; docs/howto.md runs the same",
    ("docs/getting-started.md", "python3 -m venv"): "installs; tests/test_packaging.py installs the wheel",
    ("docs/getting-started.md", "pipx install"): "installs; tests/test_packaging.py installs the wheel",
    ("docs/versions.md", "make test-oldest"): "installs gigabytes; tests/test_ends.py tests what it installs with",
    ("docs/howto.md", "xport serve bundle --engine tf-serving"): _SERVER + "tests/deploy/test_tf_serving.py",
    (
        "docs/howto.md",
        "xport serve bundle --engine torchserve",
    ): "needs Java; tests/deploy/test_torchserve.py",
    ("docs/howto.md", "xport serve mnist.onnx --engine ray"): "Ray starts in minutes; tests/deploy/test_ray_serve.py",
    ("docs/bisect.md", "$ xport bisect model.pt2"): _FILES + "tests/cli/test_bisect.py",
    ("docs/compare.md", "xport compare model.pt2"): _FILES + "tests/compare",
    ("docs/deploying.md", "xport package model.onnx"): _SERVER + "tests/deploy",
    ("docs/engines.md", "$ xport engines list"): "installs gigabytes; tests/convert/test_engines.py has stand-ins",
    ("docs/many.md", "$ xport convert --many"): _FILES + "tests/many/test_command.py",
    ("docs/many.md", "output: converted"): _FILES + "test_the_plan_of_many_is_read, which reads it",
    ("docs/onnx-targets.md", "$ xport convert model.onnx"): _FILES + "tests/convert/test_onnx_to_onnx.py",
    ("docs/probing.md", "xport probe"): _SERVER + "tests/probing; docs/howto.md runs the same",
    ("docs/pytorch-source.md", "from model import load"): _FILES + "docs/howto.md, which trains such a folder",
    ("docs/quantization.md", "xport convert model.pt2 --to tflite"): _FILES + "tests/quantizing",
    ("docs/quantization.md", "numpy.savez("): "an excerpt; docs/howto.md runs a whole one",
    ("docs/ray.md", "pip install 'xport-ml[cpu,ray]'"): "installs; tests/deploy/test_ray_serve.py serves",
    ("docs/ray.md", "xport serve mlp.onnx"): "a measurement of minutes",
    ("docs/serving.md", "pip install 'xport-ml[cpu,serve]'"): "installs; docs/howto.md serves and asks",
    ("docs/serving.md", "import numpy as np"): "needs a server that runs; docs/howto.md runs the same",
    ("docs/serving.md", "python tests/protocol/models.py"): _SERVER + "tests/protocol",
    ("docs/validate.md", "xport validate model.pt2"): _FILES + "tests/validate; docs/howto.md runs the same",
    ("docs/validate.md", "xport validate model.onnx http"): _SERVER + "tests/probing; docs/howto.md runs the same",
}
"""By page and the beginning of a block, why no test runs it as it stands."""


def reason(page: str, block: Block) -> str:
    """The test that runs a block, or why none does; empty if nobody has said."""
    named = [why for (where, begins), why in NOT_RUN.items() if where == page and block.first.startswith(begins)]
    return RUN.get((page, block.language)) or "".join(named[:1])


FOUND = [(name_of(page), block) for page in PAGES for block in blocks(page.read_text()) if block.language not in OUTPUT]


@pytest.mark.parametrize(("page", "block"), FOUND, ids=[f"{page}:{block.line}" for page, block in FOUND])
def test_a_block_is_run_or_excused(page: str, block: Block) -> None:
    assert reason(page, block), f"{page}:{block.line} {block.first!r} is run by no test and not in NOT_RUN"


@pytest.mark.parametrize("excuse", NOT_RUN, ids=str)
def test_no_excuse_is_left_over(excuse: tuple[str, str]) -> None:
    page, begins = excuse
    assert any(where == page and block.first.startswith(begins) for where, block in FOUND)
    named = re.findall(r"(?:tests|docs)/[\w/.]+\w", NOT_RUN[excuse])
    assert not [path for path in named if not (ROOT / path).exists()]


def test_a_new_block_is_found() -> None:
    assert not reason("docs/many.md", Block("console", "$ xport convert --all\n", 1))
    assert not reason("docs/serving.md", Block("python", "print(1)\n", 1))


def test_the_plan_of_many_is_read(tmp_path: Path) -> None:
    (block,) = (b for page, b in FOUND if page == "docs/many.md" and b.language == "yaml")
    x, y = (helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    model = helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y]))
    for name in ("encoder.onnx", "resnet50.pt2", "detector"):  # only the format is looked at
        (tmp_path / name).write_bytes(model.SerializeToString())
    text = block.text.replace("s3://bucket/models/detector", f"file://{tmp_path}/detector")
    (tmp_path / "plan.yaml").write_text(text)
    plan = check_plan(read_plan(tmp_path / "plan.yaml"), tmp_path)
    assert [task.target.value for task in plan.tasks] == ["onnx", "savedmodel", "tflite", "onnx", "tflite", "tflite"]
