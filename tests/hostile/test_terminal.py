"""Names inside of models may hold what steers a terminal; they are shown, and steer nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import seeds
from onnx import helper

from xport.cli.output import printable

Call = Callable[..., tuple[int, str, str]]
STEERING = "\x1b[2J\x1b]0;gone\x07\u202e"


@pytest.mark.parametrize(
    ("text", "shown"), [("a\tb\n日本 é", "a\tb\n日本 é"), ("\x1b[2J", "\\x1b[2J"), ("\r\x9b\u202e", "\\r\\x9b\\u202e")]
)
def test_what_is_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_names_steer_no_terminal(form: list[str], call: Call, tmp_path: Path) -> None:
    model = seeds.onnx_model()
    model.graph.input[0].name = model.graph.node[0].input[0] = STEERING
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = STEERING
    model.opset_import.append(helper.make_opsetid(STEERING, 1))
    model.graph.node.append(helper.make_node(STEERING, [STEERING], ["z"], domain=STEERING))
    onnx.save(model, tmp_path / "m.onnx")
    code, out, err = call("inspect", tmp_path / "m.onnx", *form)
    assert code == 0, err
    assert "[2J" in out
    assert not {"\x1b", "\x07"} & set(out + err)
    assert form or "\u202e" not in out + err


def test_refusals_steer_no_terminal(call: Call, tmp_path: Path) -> None:
    path = tmp_path / f"m{STEERING}.onnx"
    path.write_bytes(b"")
    code, out, err = call("inspect", path)
    assert code == 2
    assert not set(STEERING) & set("\x1b\x07\u202e") & set(out + err)
