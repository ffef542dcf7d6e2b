"""Files that somebody made to do harm, or that were harmed on their way: how each is made from a sound one."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import seeds
from onnx import TensorProto, helper, numpy_helper

ARCHIVES = ("state.pt", "script.pt", "program.pt2", "x.keras")


class Payload:
    """A pickle of this creates a file when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        """What the unpickler is asked to call."""
        return open, (str(self.mark), "w")


def damaged(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every seed cut short, with bits turned over, with parts overwritten, with something behind it."""
    draw = random.Random(7)
    for name in seeds.FORMATS:
        data = (folder / name).read_bytes()
        stem, _, ending = name.rpartition(".")
        variants = {"empty": b"", "third": data[: len(data) // 3], "nearly": data[: -max(1, len(data) // 20)]}
        variants |= {"head": data[:16], "doubled": data + data}
        for label, filler, where in (("zeros", b"\0" * 200, 2), ("ones", b"\xff" * 64, 4)):
            start = len(data) // where
            variants[label] = data[:start] + filler[: len(data) - start] + data[start + len(filler) :]
        for count in (1, 4, 10):
            flipped = bytearray(data)
            for _ in range(count):
                flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            variants[f"flip{count}"] = bytes(flipped)
        for label, content in variants.items():
            yield f"{stem}-{label}.{ending}", content


def archives(folder: Path, target: Path, mark: Path) -> None:
    """Archives that unpack to gigabytes, out of their folder, to links, to pickles with a payload."""
    for name in ARCHIVES:
        stem, _, ending = name.rpartition(".")

        def bomb(archive: zipfile.ZipFile, top: str) -> None:
            with archive.open(f"{top}/bomb", "w", force_zip64=True) as member:
                for _ in range(16):
                    member.write(bytes(1 << 26))

        def outside(archive: zipfile.ZipFile, top: str) -> None:
            archive.writestr(f"../../{mark.name}", b"x")

        def link(archive: zipfile.ZipFile, top: str) -> None:
            info = zipfile.ZipInfo(f"{top}/link")
            info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")

        for label, change in {"bomb": bomb, "outside": outside, "link": link}.items():
            _rewritten(folder / name, target / f"{stem}-{label}.{ending}", change)
    payload = pickle.dumps(Payload(mark), 2)
    for name in ("script.pt", "program.pt2", "state.pt", "pickled.pt"):
        stem, _, ending = name.rpartition(".")
        _rewritten(folder / name, target / f"{stem}-payload.{ending}", swap=(b"\x80\x02", payload))
    (target / "bare-payload.pt").write_bytes(payload)


def _rewritten(
    source: Path,
    target: Path,
    change: Callable[[zipfile.ZipFile, str], None] | None = None,
    swap: tuple[bytes, bytes] | None = None,
) -> None:
    """A copy of an archive with a member more, or with every member that begins in some way replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info, swap[1] if swap and data.startswith(swap[0]) else data)
        if change is not None:
            change(new, old.namelist()[0].split("/")[0])


def folders(folder: Path, target: Path) -> None:
    """SavedModels without their variables, cut short, with a pipe or a foreign file where the graph should be."""
    saved = folder / "saved"
    for label in ("novariables", "shortvariables", "short", "empty", "linked", "pipe"):
        shutil.copytree(saved, target / f"saved-{label}")
    shutil.rmtree(target / "saved-novariables" / "variables")
    data = next((target / "saved-shortvariables" / "variables").glob("*.data*"))
    data.write_bytes(data.read_bytes()[:20])
    graph = {label: target / f"saved-{label}" / "saved_model.pb" for label in ("short", "empty", "linked", "pipe")}
    graph["short"].write_bytes(graph["short"].read_bytes()[:1000])
    graph["empty"].write_bytes(b"")
    for label in ("linked", "pipe"):
        graph[label].unlink()
    graph["linked"].symlink_to("/etc/passwd")
    os.mkfifo(graph["pipe"])
    (target / "folder.onnx").mkdir()


def oddities(target: Path) -> None:
    """What is no model at all, under a model's name."""
    (target / "text.onnx").write_text("hello")
    (target / "page.tflite").write_text("<html>not found</html>")
    (target / "loop.onnx").symlink_to("loop.onnx")
    (target / "endless.onnx").symlink_to("/dev/zero")
    (target / "dangling.pt").symlink_to("/nowhere/at/all")
    os.mkfifo(target / "pipe.onnx")
    (target / "header.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    deep = b"{" + b'"a":[' * 20000 + b"]" * 20000 + b"}"
    (target / "deep.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep)


def locations(target: Path) -> None:
    """ONNX files whose weights lie in other files, or seem to."""
    (target / "data.bin").write_bytes(bytes(48))
    (target / "linked.bin").symlink_to("/etc/passwd")
    os.mkfifo(target / "pipe.bin")
    (target.parent / "secret.bin").write_bytes(bytes(48))
    asked = {
        "up": ("../secret.bin", "0", "48"),
        "absolute": ("/etc/passwd", None, None),
        "link": ("linked.bin", None, None),
        "pipe": ("pipe.bin", None, None),
        "device": ("/dev/zero", None, None),
        "missing": ("nowhere.bin", None, None),
        "nul": ("a\0b", None, None),
        "folder": (".", None, None),
        "far": ("data.bin", "1000000", "48"),
        "negative": ("data.bin", "-5", "48"),
        "long": ("data.bin", "0", "99999999999"),
        "words": ("data.bin", "abc", "48"),
    }
    for label, entries in asked.items():
        model = seeds.onnx_model()
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in zip(("location", "offset", "length"), entries, strict=True):
            if value is not None:
                weight.external_data.add(key=key, value=value)
        (target / f"data-{label}.onnx").write_bytes(model.SerializeToString())


def _model(nodes: list[onnx.NodeProto], *tensors: Any, opset: int = 20, functions: Any = ()) -> bytes:
    value = helper.make_tensor_value_info
    inits = [t if isinstance(t, TensorProto) else numpy_helper.from_array(np.array(t[1]), t[0]) for t in tensors]
    graph = helper.make_graph(nodes, "g", [value("x", 1, ["batch", 4])], [value("y", 1, None)], inits)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10).SerializeToString()


def graphs() -> Iterator[tuple[str, bytes]]:
    """ONNX graphs that mean nothing, or mean more than any machine has."""
    node, million = helper.make_node, 10**6
    added = [node("ReduceSum", ["k"], ["t"], keepdims=0), node("Add", ["x", "t"], ["y"])]
    yield "cycle", _model([node("Add", ["x", "b"], ["a"]), node("Add", ["x", "a"], ["b"]), node("Relu", ["b"], ["y"])])
    yield "two-of-a-name", _model([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])])
    yield "missing-input", _model([node("Relu", ["nowhere"], ["y"])])
    yield "missing-output", _model([node("Relu", ["x"], ["z"])])
    yield "unknown-operator", _model([node("Frobnicate", ["x"], ["y"])])
    yield "unknown-domain", _model([node("Relu", ["x"], ["y"], domain="com.elsewhere")])
    yield "opset-999", _model([node("Relu", ["x"], ["y"])], opset=999)
    yield "huge-constant", _model([node("ConstantOfShape", ["s"], ["k"]), *added], ("s", [million, million]))
    yield "huge-expand", _model([node("Expand", ["x", "s"], ["y"])], ("s", [million, million, 4]))
    yield "huge-pad", _model([node("Pad", ["x", "s"], ["y"])], ("s", [0, 10**12, 0, 0]))
    yield "huge-tile", _model([node("Tile", ["c", "s"], ["k"]), *added], ("s", [10**12]), ("c", np.ones(1, np.float32)))
    weight = TensorProto(name="w", data_type=1, dims=[million, million])
    yield "declared-weight", _model([node("MatMul", ["x", "w"], ["y"])], weight)
    weight = TensorProto(name="w", data_type=1, dims=[-4, 3])
    yield "negative-weight", _model([node("MatMul", ["x", "w"], ["y"])], weight)
    weight = TensorProto(name="w", data_type=77, dims=[4, 3], raw_data=bytes(48))
    yield "unknown-dtype", _model([node("MatMul", ["x", "w"], ["y"])], weight)
    itself = helper.make_function(
        "own", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="own")], [helper.make_opsetid("own", 1)]
    )
    yield "recursive", _model([node("F", ["x"], ["y"], domain="own")], functions=[itself])
    yield "billions", _model([node("F0", ["x"], ["y"], domain="own")], functions=list(_doubling(30)))


def _doubling(depth: int) -> Iterator[onnx.FunctionProto]:
    """Functions that each call the next twice: two to the power of their number of operators."""
    imports = [helper.make_opsetid("own", 1), helper.make_opsetid("", 20)]
    for i in range(depth):
        calls = [helper.make_node(f"F{i + 1}", [a], [b], domain="own") for a, b in (("a", "c"), ("c", "b"))]
        yield helper.make_function("own", f"F{i}", ["a"], ["b"], calls, imports)
    yield helper.make_function("own", f"F{depth}", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], imports)
