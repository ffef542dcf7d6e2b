"""Files that people hand over and that are no model xport reads: what they are, and the way from there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Foreign(NamedTuple):
    """Something that is told apart from a broken model.

    Attributes:
        name: What it is.
        fix: What to do instead.
    """

    name: str
    fix: str


def _is_graph_def(head: bytes) -> bool:
    """A GraphDef begins with a NodeDef, and that with its name and its operator (tensorflow/core/framework/*.proto)."""
    try:
        tag, at = head[0], _after_varint(head, 1)
        name = head[at + 2 : at + 2 + head[at + 1]]
        rest = head[at + 2 + len(name) :]
        operator = rest[2 : 2 + rest[1]]
        tags = (tag, head[at], rest[0])
    except IndexError:
        return False
    return tags == (0x0A, 0x0A, 0x12) and bool(name) and re.fullmatch(rb"[A-Z]\w+", operator) is not None


def _after_varint(data: bytes, at: int) -> int:
    while data[at] & 0x80:
        at += 1
    return at + 1


_ENDINGS = (".onnx", ".tflite", ".keras", ".h5", ".pt2", ".pt", ".pth")
_GRAPH_DEF = Foreign(
    "a frozen TensorFlow graph (GraphDef), which does not say what its inputs and outputs are",
    "Name them: python -m tf2onnx.convert --graphdef {path} --inputs x:0 --outputs y:0 --output model.onnx",
)
_TABLE: tuple[tuple[Callable[[bytes], object], Foreign], ...] = (
    (
        re.compile(rb"version https://git-lfs").match,
        Foreign("a pointer of Git LFS, not the file it stands for", "Fetch that: git lfs pull --include '{name}'"),
    ),
    (
        re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE).match,
        Foreign("a web page", "Download the file itself; the address was that of a page about it, or of a login."),
    ),
    (re.compile(rb"\x1f\x8b").match, Foreign("compressed by gzip", "Unpack it: gunzip, or tar -xzf '{path}'")),
    (re.compile(rb"[\x00-\xff]{257}ustar").match, Foreign("a tar archive", "Unpack it: tar -xf '{path}'")),
    (re.compile(rb"7z\xbc\xaf\x27\x1c|Rar!").match, Foreign("a packed archive", "Unpack it first.")),
    (
        re.compile(rb"GGUF").match,
        Foreign("GGUF, which holds weights without a graph", "Convert the model that it was made of."),
    ),
    (
        re.compile(rb"[\x00-\xff]{4}ORTM").match,
        Foreign("ONNX Runtime's own format (.ort)", "Convert the .onnx file that it was made of."),
    ),
    (
        re.compile(rb"[fp]trt").match,
        Foreign("a TensorRT engine, which holds kernels of one GPU", "Convert the model that it was built from."),
    ),
    (
        re.compile(rb"\x93NUMPY").match,
        Foreign("a NumPy array", "Name the model; arrays go to --input-data or --calibration."),
    ),
    (
        re.compile(rb"\s*<\?xml[^>]*>\s*<net\b").match,
        Foreign("OpenVINO's format", "Convert the model that it was made of."),
    ),
    (
        re.compile(rb'\s*\{(?=[\x00-\xff]*"(modelTopology|weightsManifest)")').match,
        Foreign(
            "a TensorFlow.js model",
            "First: tensorflowjs_converter --input_format=tfjs_layers_model --output_format=keras '{path}' model.h5",
        ),
    ),
    (
        re.compile(rb'\s*\{(?=[\x00-\xff]*"class_name")').match,
        Foreign(
            "the description of a Keras model without its weights",
            "Save the whole model: model = keras.models.model_from_json(open('{path}').read()); "
            "model.load_weights('….weights.h5'); model.save('model.keras')",
        ),
    ),
    (_is_graph_def, _GRAPH_DEF),
)


def recognise(path: Path, head: bytes) -> Foreign | None:
    """Tell what a file is that is no model for xport.

    Args:
        path: The file, for the advice.
        head: Its first bytes, some hundred at least.

    Returns:
        What it is and what to do; None if nobody knows.
    """
    if path.name in ("saved_model.pb", "saved_model.pbtxt"):
        return Foreign("the graph of a SavedModel, which is a folder", f"Name that: {path.parent}")
    for matches, foreign in _TABLE:
        if matches(head):
            return _about(foreign, path)
    return None


def recognise_folder(path: Path) -> Foreign | None:
    """Tell what a folder holds that is neither a SavedModel nor PyTorch source; None if nobody knows."""
    versions = sorted((p.parent for p in path.glob("*/saved_model.pb") if p.parent.name.isdecimal()), key=_number)
    if versions:
        return Foreign("TF Serving's layout, a folder for each version", f"Name a version: {versions[-1]}")
    if any(path.glob("*.index")) and any(path.glob("*.data-?????-of-?????")):
        return Foreign(
            "a TensorFlow checkpoint, which holds weights without a graph",
            "Load it in the code that made it, and save the model: tf.saved_model.save(model, 'saved')",
        )
    if (path / "Manifest.json").is_file() and (path / "Data").is_dir():
        return Foreign("a Core ML package", "Convert the model that it was made of.")
    if ((path / "config.json").is_file() and any(path.glob("*.safetensors"))) or (path / "pytorch_model.bin").is_file():
        return Foreign(
            "a model of transformers, or of a library like it: weights and settings; the code is in the library",
            'Load it there and hand over the module: docs/howto.md, "convert a model of Hugging Face\'s transformers".',
        )
    models = sorted(p for p in path.glob("*") if p.suffix in _ENDINGS)
    if models:
        return Foreign(f"a folder around {', '.join(p.name for p in models[:4])}", f"Name the file: {models[0]}")
    return None


def _number(path: Path) -> int:
    return int(path.name)


def _about(foreign: Foreign, path: Path) -> Foreign:
    return foreign._replace(fix=foreign.fix.replace("{path}", str(path)).replace("{name}", path.name))
