"""Branches and loops as PyTorch source: the same numbers as ONNX Runtime, in Python that reads like a person's."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import parser

import xport
from xport.convert.onnx_signature import read_signature
from xport.convert.torch_source import load_folder
from xport.convert.writing.writer import write, write_source
from xport.errors import UnsupportedError

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def count(n: int) -> np.ndarray:
    return np.array(n)


X = floats(1, -2, 3)
MODELS: dict[str, tuple[str, list[list[np.ndarray]]]] = {
    "a number of times, none included": (
        """agraph (float[n] x, int64 m) => (float[n] y, float[k, n] rows) {
            y, rows = Loop (m, "", x) <body = b (int64 i, bool go, float[n] s) => (bool more, float[n] t, float[n] r) {
                more = Identity(go)
                f = Cast<to = 1>(i)
                t = Add(s, f)
                r = Mul(t, x)
            }>
        }""",
        [[X, count(3)], [X, count(0)], [X, count(-2)], [floats(5), count(1)]],
    ),
    "while a condition holds": (
        """agraph (float[n] x) => (float[n] y, float[k] sums) {
            limit = Constant<value = float {40.0}>()
            first = ReduceSum<keepdims = 0>(x)
            begin = Less(first, limit)
            y, sums = Loop ("", begin, x) <body = b (int64 i, bool go, float[n] s) => (bool more, float[n] t, float r) {
                t = Add(s, s)
                r = ReduceSum<keepdims = 0>(t)
                more = Less(r, limit)
            }>
        }""",
        [[X], [floats(100)], [floats(1, 1, 1)]],
    ),
    "at most a number of times": (
        """agraph (float[n] x, int64 m, bool begin) => (float[n] y) {
            nine = Constant<value = float {9.0}>()
            y = Loop (m, begin, x) <body = b (int64 i, bool go, float[n] s) => (bool more, float[n] t) {
                t = Add(s, s)
                r = ReduceMax<keepdims = 0>(t)
                more = Less(r, nine)
            }>
        }""",
        [[X, count(9), np.array(True)], [X, count(1), np.array(True)], [X, count(4), np.array(False)]],
    ),
    "a condition at first only": (
        """agraph (float[n] x, int64 m, bool begin) => (float[n] y) {
            y = Loop (m, begin, x) <body = b (int64 i, bool go, float[n] s) => (bool more, float[n] t) {
                t = Add(s, x)
                more = Constant<value = bool {1}>()
            }>
        }""",
        [[X, count(2), np.array(True)], [X, count(2), np.array(False)]],
    ),
    "states that change places": (
        """agraph (float[n] x, float[n] w, int64 m) => (float[n] y, float[n] z, float[k, n] rows) {
            y, z, rows = Loop (m, "", x, w) <body = b (int64 i, bool go, float[n] s, float[n] t)
                    => (bool more, float[n] u, float[n] v, float[n] r) {
                more = Identity(go)
                u = Identity(t)
                v = Sub(s, t)
                r = Add(s, t)
            }>
        }""",
        [[X, floats(4, 5, 6), count(3)], [X, X, count(0)]],
    ),
    "states that are never changed, used as rows and known": (
        """agraph (float[n] x, int64 m) =>
                (float[n] y, int32 z, float[k, n] rows, float[k, n] outer, int64[k, 2] known) {
            start = Constant<value = int32 {7}>()
            y, z, rows, outer, known = Loop (m, "", x, start) <body = b (int64 i, bool go, float[n] s, int32 t)
                    => (bool more, float[n] u, int32 v, float[n] r, float[n] o, int64[2] c) {
                more = Identity(go)
                u = Identity(s)
                v = Add(t, t)
                r = Identity(s)
                o = Identity(x)
                c = Constant<value = int64[2] {3, 4}>()
            }>
        }""",
        [[X, count(2)], [X, count(0)]],
    ),
    "a state that grows": (
        """agraph (float[n] x, int64 m) => (float[k] y) {
            y = Loop (m, "", x) <body = b (int64 i, bool go, float[n] s) => (bool more, float[j] t) {
                more = Identity(go)
                t = Concat<axis = 0>(s, x)
            }>
        }""",
        [[X, count(3)], [floats(1, 2), count(0)]],
    ),
    "one of two": (
        """agraph (float[n] x, bool c) => (float[n] y, float[n] z) {
            one = Constant<value = float {1.0}>()
            y, z = If (c) <then_branch = t () => (float[n] a, float[n] b) {
                a = Add(x, one)
                b = Identity(x)
            }, else_branch = e () => (float[n] a2, float[n] b2) {
                h = Mul(x, x)
                a2 = Sub(h, one)
                b2 = Neg(h)
            }>
        }""",
        [[X, np.array(True)], [X, np.array(False)]],
    ),
    "a branch in a loop in a branch": (
        """agraph (float[n] x, bool c, int64 m) => (float[n] y) {
            two = Constant<value = int64 {2}>()
            nought = Constant<value = int64 {0}>()
            y = If (c) <then_branch = t () => (float[n] a) {
                a = Loop (m, "", x) <body = b (int64 i, bool go, float[n] s) => (bool more, float[n] u) {
                    more = Identity(go)
                    rest = Mod(i, two)
                    even = Equal(rest, nought)
                    u = If (even) <then_branch = t2 () => (float[n] p) { p = Add(s, x) },
                                   else_branch = e2 () => (float[n] q) { q = Mul(s, x) }>
                }>
            }, else_branch = e () => (float[n] a2) { a2 = Neg(x) }>
        }""",
        [[X, np.array(True), count(5)], [X, np.array(False), count(5)]],
    ),
    "slices along axes, forwards and backwards": (
        """agraph (float[2, n] x, float[n, 2] w, float[2] s0) => (float[2] s, float[n, 2] a, float[2, n] b) {
            s, a, b = Scan<num_scan_inputs = 2, scan_input_axes = [1, 0], scan_input_directions = [0, 1],
                           scan_output_axes = [0, -1], scan_output_directions = [1, 0],
                           body = f (float[2] p, float[2] xt, float[2] wt) => (float[2] q, float[2] c, float[2] d) {
                h = Mul(xt, wt)
                q = Add(p, h)
                c = Sub(q, wt)
                d = Neg(p)
            }>(s0, x, w)
        }""",
        [[np.arange(2 * n, dtype=np.float32).reshape(2, n), np.ones((n, 2), np.float32), floats(1, 2)] for n in (3, 1)],
    ),
    "a scan in a scan": (
        """agraph (float[n, 3] x, float s0) => (float s, float[n, 3] y) {
            s, y = Scan<num_scan_inputs = 1, body = f (float p, float[3] row) => (float q, float[3] r) {
                q, r = Scan<num_scan_inputs = 1, body = g (float p2, float e) => (float q2, float r2) {
                    q2 = Add(p2, e)
                    r2 = Mul(q2, p)
                }>(p, row)
            }>(s0, x)
        }""",
        [[np.arange(6, dtype=np.float32).reshape(2, 3), np.array(1, np.float32)]],
    ),
    "a condition that is known": (
        """agraph (float[n] x) => (float[n] y) {
            c = Constant<value = bool {0}>()
            y = If (c) <then_branch = t () => (float[n] a) { a = Abs(x) },
                        else_branch = e () => (float[n] b) { b = Neg(x) }>
        }""",
        [[X]],
    ),
}


def written(text: str, folder: Path) -> tuple[torch.nn.Module, str, Path]:
    """The module that a model's source gives, its text and the ONNX file."""
    file = folder / "model.onnx"
    model = parser.parse_model(HEAD + text)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    write(file, folder / "source", read_signature(file))
    return load_folder(folder / "source", trust=True), (folder / "source/model.py").read_text(), file


def assert_same(module: torch.nn.Module, file: Path, feeds: Sequence[Sequence[np.ndarray]]) -> None:
    session = onnxruntime.InferenceSession(file)
    names = [given.name for given in session.get_inputs()]
    for feed in feeds:
        with torch.no_grad():
            found = module(*[torch.from_numpy(array) for array in feed])
        found = found if isinstance(found, tuple) else (found,)
        for have, want in zip(found, session.run(None, dict(zip(names, feed, strict=True))), strict=True):
            assert have.numpy().dtype == want.dtype
            assert have.ndim == want.ndim
            if want.size or have.numel():  # ONNX Runtime takes sizes of no rows for zero
                np.testing.assert_allclose(have.numpy(), want, rtol=1e-5, strict=True)


@pytest.mark.parametrize("name", MODELS)
def test_it_computes_what_onnx_runtime_computes(name: str, tmp_path: Path) -> None:
    text, feeds = MODELS[name]
    module, source, file = written(text, tmp_path)
    assert_same(module, file, feeds)
    ast.parse(source)
    assert max(map(len, source.splitlines())) <= 120


def test_it_reads_like_python(tmp_path: Path) -> None:
    _, source, _ = written(MODELS["a number of times, none included"][0], tmp_path)
    assert "for i in range(m.item()):" in source
    (tmp_path / "2").mkdir()
    _, source, _ = written(MODELS["while a condition holds"][0], tmp_path / "2")
    assert "while running:" in source
    (tmp_path / "3").mkdir()
    _, source, _ = written(MODELS["slices along axes, forwards and backwards"][0], tmp_path / "3")
    assert "for x_t, w_t in zip(x.unbind(1), w.flip(0).unbind()):" in source


def test_a_loop_without_an_end_is_refused(tmp_path: Path) -> None:
    text = """agraph (float[n] x) => (float[n] y) {
        y = Loop ("", "", x) <body = b (int64 i, bool go, float[n] s) => (bool more, float[n] t) {
            more = Identity(go)
            t = Add(s, x)
        }>
    }"""
    file = tmp_path / "m.onnx"
    onnx.save(parser.parse_model(HEAD + text), file)
    with pytest.raises(UnsupportedError, match=r"Loop.*without an end"):
        write_source(file, read_signature(file))


def test_what_a_body_cannot_say_is_named(tmp_path: Path) -> None:
    text = MODELS["one of two"][0].replace("h = Mul(x, x)", "h = RandomNormalLike(x)")
    file = tmp_path / "m.onnx"
    onnx.save(parser.parse_model(HEAD + text), file)
    with pytest.raises(UnsupportedError, match="RandomNormalLike"):
        write_source(file, read_signature(file))


class Unrolled(torch.nn.Module):
    """A module that a body calls, with a layer that is used outside as well."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = torch.nn.Linear(4, 4)
        self.cell = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def yes(h: torch.Tensor) -> torch.Tensor:
            return self.cell(self.shared(h))

        def no(h: torch.Tensor) -> torch.Tensor:
            return self.shared(h) - 1

        return torch.cond(x.sum() > 0, yes, no, (self.shared(x),))


def test_modules_inside_of_bodies_keep_names_and_share_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Unrolled().eval()
    artifact = xport.convert(module, to="pytorch", output=tmp_path / "net", inputs=["x:float32[batch,4]"])
    assert artifact.proof is not None
    assert artifact.proof.verified
    found = load_folder(tmp_path / "net", trust=True)
    assert set(found.state_dict()) == set(module.state_dict())
    source = (tmp_path / "net/model.py").read_text()
    assert re.search(r"^        if .*:$", source, re.MULTILINE)
    for sign in (1, -1):
        x = sign * torch.rand(3, 4)
        h = module.shared(x)
        wanted = module.cell(module.shared(h)) if x.sum() > 0 else module.shared(h) - 1
        torch.testing.assert_close(found(x), wanted)
    found(torch.rand(2, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in found.parameters())


ALONE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("xport", "safetensors", "numpy.typing"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
import torch
from model import load
x = torch.tensor([1.0, -2.0, 3.0])
print(load()(x, torch.tensor(2))[1].shape)
"""


def test_it_needs_torch_alone(tmp_path: Path) -> None:
    written(MODELS["a number of times, none included"][0], tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=tmp_path / "source", capture_output=True, text=True, check=True, env={}
    )
    assert "[2, 3]" in run.stdout
