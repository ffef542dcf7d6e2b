"""What people hand over that is no model: each is called by its name, with the way from there."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from xport.errors import UnreadableModelError
from xport.formats import detect


def _tar() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.onnx"))
    return data.getvalue()


def _npy() -> bytes:
    data = io.BytesIO()
    np.save(data, np.zeros(3))
    return data.getvalue()


FILES = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS", "git lfs pull"),
    "page": (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page", "Download the file itself"),
    "gzip": (gzip.compress(b"x" * 500), "gzip", "gunzip"),
    "tar": (_tar(), "a tar archive", "tar -xf"),
    "gguf": (b"GGUF" + bytes(96), "GGUF", "made of"),
    "ort": (b"\x18\0\0\0ORTM" + bytes(96), r"\.ort", "onnx"),
    "engine": (b"ftrt" + bytes(96), "TensorRT", "built from"),
    "npy": (_npy(), "a NumPy array", "--input-data"),
    "openvino": (b'<?xml version="1.0"?>\n<net name="n" version="11">', "OpenVINO", "made of"),
    "tfjs": (b'{"format": "layers-model", "modelTopology": {}}', "TensorFlow.js", "tensorflowjs_converter"),
    "keras": (b'{"module": "keras", "class_name": "Sequential"}', "without its weights", "model_from_json"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path: Path, name: str) -> None:
    data, what, fix = FILES[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(UnreadableModelError, match=what) as caught:
        detect(path)
    assert fix in caught.value.fix


def test_the_graph_inside_of_a_savedmodel(tmp_path: Path) -> None:
    path = tmp_path / "saved_model.pb"
    path.write_bytes(b"\x08\x01\x12\x02\x0a\x00")
    with pytest.raises(UnreadableModelError, match="a folder") as caught:
        detect(path)
    assert str(tmp_path) in caught.value.fix


def test_frozen_graph(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.nn.relu(tf.compat.v1.placeholder(tf.float32, [None, 4], name="a_name_of_some_length"))
    path = tmp_path / "frozen.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(UnreadableModelError, match="frozen TensorFlow graph") as caught:
        detect(path)
    assert f"--graphdef {path}" in caught.value.fix


FOLDERS = {
    "versions": (
        ["1/saved_model.pb", "3/saved_model.pb", "20/saved_model.pb"],
        "TF Serving's layout",
        "Name a version: .*20$",
    ),
    "checkpoint": (
        ["checkpoint", "ckpt-1.index", "ckpt-1.data-00000-of-00001"],
        "TensorFlow checkpoint",
        "saved_model.save",
    ),
    "coreml": (["Manifest.json", "Data/weights"], "Core ML", "made of"),
    "transformers": (["config.json", "model.safetensors"], "transformers", "howto.md"),
    "older transformers": (["config.json", "pytorch_model.bin"], "transformers", "howto.md"),
    "around": (["README.md", "net.onnx"], "a folder around net.onnx", "Name the file: .*net.onnx$"),
    "nothing": (["README.md"], "without saved_model.pb", "Name a model file"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(tmp_path: Path, name: str) -> None:
    files, what, fix = FOLDERS[name]
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"x")
    with pytest.raises(UnreadableModelError, match=what) as caught:
        detect(tmp_path)
    assert re.search(fix, caught.value.fix)


def test_a_random_file_is_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(bytes(range(200, 256)))
    with pytest.raises(UnreadableModelError, match="not a model that xport knows"):
        detect(path)
