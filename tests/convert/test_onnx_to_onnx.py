import numpy as np
import onnx
import pytest
from onnx.external_data_helper import convert_model_to_external_data
from tiny_onnx import save_tiny

from xport.convert import onnx_interface, onnx_to_onnx
from xport.convert.onnx_signature import read_signature
from xport.convert.source import open_source
from xport.errors import UnreadableModelError


def copy(path, target):
    onnx_to_onnx.convert(open_source(path), target, read_signature(path), {})
    return target


def save_external(path, location="tiny.data"):
    model = onnx.load(save_tiny(path))
    convert_model_to_external_data(model, location=location, size_threshold=0)
    onnx.save(model, path)
    return path


def weights(path):
    return onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0])


def test_a_model_in_one_file_is_copied_to_the_byte(tmp_path):
    source = save_tiny(tmp_path / "m.onnx")
    assert copy(source, tmp_path / "copy.onnx").read_bytes() == source.read_bytes()


def test_external_data_comes_along(tmp_path):
    source = save_external(tmp_path / "m.onnx")
    assert (tmp_path / "tiny.data").is_file()
    (tmp_path / "out").mkdir()
    target = copy(source, tmp_path / "out" / "copy.onnx")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["copy.onnx"]
    np.testing.assert_array_equal(weights(target), weights(source))


def test_a_large_model_keeps_its_weights_beside_it(tmp_path, monkeypatch):
    source = save_external(tmp_path / "m.onnx")
    monkeypatch.setattr(onnx_interface, "EXTERNAL_DATA_BYTES", 0)
    (tmp_path / "out").mkdir()
    target = copy(source, tmp_path / "out" / "copy.onnx")
    np.testing.assert_array_equal(weights(target), weights(source))


def test_a_large_model_in_one_file_is_split(tmp_path, monkeypatch):
    source = save_tiny(tmp_path / "m.onnx")
    monkeypatch.setattr(onnx_interface, "EXTERNAL_DATA_BYTES", 10)
    (tmp_path / "out").mkdir()
    target = copy(source, tmp_path / "out" / "copy.onnx")
    assert sorted(p.name for p in target.parent.iterdir()) == ["copy.onnx", "copy.onnx.data"]
    np.testing.assert_array_equal(weights(target), weights(source))


def test_external_data_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    source = save_external(tmp_path / "in" / "m.onnx")
    (tmp_path / "in" / "tiny.data").rename(tmp_path / "tiny.data")
    model = onnx.load(source, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../tiny.data"
    source.write_bytes(model.SerializeToString())
    with pytest.raises(UnreadableModelError, match=r"\.\./tiny\.data"):
        copy(source, tmp_path / "copy.onnx")


def test_an_invalid_model_is_refused(tmp_path):
    model = onnx.load(save_tiny(tmp_path / "m.onnx"))
    model.graph.node[1].input[0] = "nowhere"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(UnreadableModelError, match="not valid ONNX"):
        onnx_to_onnx.convert(open_source(tmp_path / "m.onnx"), tmp_path / "copy.onnx", None, {})
