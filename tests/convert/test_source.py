import pickle
import subprocess
import sys
import zipfile

import pytest
import torch

from xport.convert.source import open_source
from xport.errors import UnreadableModelError, UsageError
from xport.formats import Content, Format


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableModelError, match="does not exist"):
        open_source(tmp_path / "absent.pt")


def test_empty_file(tmp_path):
    path = tmp_path / "empty.pt"
    path.touch()
    with pytest.raises(UnreadableModelError, match="is empty"):
        open_source(path)


def test_zip_that_is_no_model(tmp_path):
    path = tmp_path / "photos.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(UnreadableModelError, match="zip archive"):
        open_source(path)


def test_text_named_pt(tmp_path):
    path = tmp_path / "notes.pt"
    path.write_text("These are notes, not weights.\n" * 9)
    with pytest.raises(UnreadableModelError, match="not a model"):
        open_source(path)


def test_truncated_archive(tmp_path):
    whole, cut = tmp_path / "whole.pt", tmp_path / "cut.pt"
    torch.save({"a": torch.ones(1000)}, whole)
    cut.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(UnreadableModelError, match="broken zip"):
        open_source(cut)


def test_state_dict_file_is_told_by_content_not_by_its_ending(tmp_path):
    path = tmp_path / "weights.onnx"
    torch.save({"a": torch.ones(3)}, path)
    source = open_source(str(path), arch="model:Net", inputs=["x:float32[batch,4]"])
    assert (source.format, source.content) == (Format.PYTORCH, Content.TORCH_PICKLE)
    assert str(source.inputs[0]) == "x:float32[batch,4]"
    assert pickle.loads(pickle.dumps(source)) == source


def test_safetensors_needs_arch(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(3)}, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="only weights") as caught:
        open_source(tmp_path / "w.safetensors")
    assert "--arch" in caught.value.fix


@pytest.mark.parametrize("arch", ["model", ":Net", "model:"])
def test_malformed_arch(tmp_path, arch):
    torch.save({"a": torch.ones(3)}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match="Malformed architecture"):
        open_source(tmp_path / "w.pt", arch=arch)


def test_arch_with_torchscript_is_refused(tmp_path):
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "m.pt"))
    with pytest.raises(UsageError, match="its own architecture"):
        open_source(tmp_path / "m.pt", arch="model:Net")


def test_zoo_is_the_real_model_by_default():
    assert open_source("zoo:resnet50").zoo == "resnet50@real"
    assert open_source("zoo:resnet50@small").zoo == "resnet50@small"
    assert open_source("zoo:resnet50").format is Format.PYTORCH


@pytest.mark.parametrize("name", ["zoo:nothing", "zoo:resnet50@huge"])
def test_unknown_zoo_model(name):
    with pytest.raises(UsageError) as caught:
        open_source(name)
    assert "zoo:resnet50" in caught.value.fix


def test_live_modules():
    assert open_source(torch.nn.ReLU()).format is Format.PYTORCH
    assert open_source(torch.jit.script(torch.nn.ReLU())).format is Format.TORCHSCRIPT
    with pytest.raises(UsageError, match="got int"):
        open_source(3)


def test_names_are_given_once():
    with pytest.raises(UsageError, match="'x' is given twice"):
        open_source(torch.nn.ReLU(), inputs=["x:float32[1]", "x:float32[2]"])


def test_opening_a_path_does_not_import_torch(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "w.pt")
    code = (
        "import sys; from xport.convert.source import open_source; "
        f"open_source({str(tmp_path / 'w.pt')!r}); open_source('zoo:bert'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
