"""Whole conversions to lower precision, on real digits."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from quantizing_nets import samples, save_hostile, save_residual

import xport
from xport.cli.run import run
from xport.errors import InputsError, ParityError, UnsupportedError, UsageError

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A trained classifier as a float ONNX file, typical images, and held-out ones with labels."""
    import torch

    from xport.models import digits_cnn
    from xport.models.digits import load_digits_data, train

    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("digits")
    torch.manual_seed(0)
    module = digits_cnn(size="small")
    x, y, test_x, test_y = load_digits_data()
    train(module, x, y, epochs=6)
    np.savez(folder / "calibration.npz", image=x[:256])
    xport.convert(module, to="onnx", output=folder / "digits.onnx", inputs=["image:float32[batch,1,8,8]"])
    return folder, test_x, test_y


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A model that int8 ruins, with typical inputs."""
    folder = tmp_path_factory.mktemp("hostile")
    np.savez(folder / "calibration.npz", **samples({"x": (16,)}, 128))
    return save_hostile(folder / "net.onnx"), folder / "calibration.npz"


def accuracy(path, x, y):
    with xport.load(path) as model:
        (found,) = model({"image": x}).values()
    return float((found.argmax(axis=1) == y).mean())


def loss(artifact):
    return artifact.proof.parity[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "tflite"])
def test_int8_digits_stay_within_a_point(digits, tmp_path, to):
    folder, x, y = digits
    source = folder / "digits.onnx"
    artifact = xport.convert(
        source, to=to, output=tmp_path / f"d.{to}", quantize="int8", calibration=folder / "calibration.npz"
    )
    assert accuracy(artifact.path, x, y) >= accuracy(source, x, y) - 0.01
    assert accuracy(artifact.path, x[:1], y[:1]) in (0.0, 1.0)  # another batch size runs
    assert artifact.signature == xport.inspect(source).signature
    said = artifact.proof.options["precision"]
    assert (said["kind"], said["calibration"]["samples"], said["calibration"]["held_out"]) == ("int8", 256, True)
    assert loss(artifact)["sqnr_db"] > 25
    assert loss(artifact)["rows"] == 64
    assert artifact.proof.parity[0]["rule"] in ("floor", "table")
    assert artifact.path.stat().st_size < 0.7 * source.stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == [artifact.path.name]
    assert xport.verify(artifact.path).passed


@pytest.mark.slow
def test_an_artifact_that_changed_is_found_by_verify(digits, tmp_path):
    folder, *_ = digits
    artifact = xport.convert(
        folder / "digits.onnx",
        to="onnx",
        output=tmp_path / "d.onnx",
        quantize="int8",
        calibration=folder / "calibration.npz",
    )
    model = onnx.load(artifact.path)
    scale = next(t for t in model.graph.initializer if t.name.endswith("_scale") and len(t.dims) == 1)
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(3), scale.name))
    onnx.save(model, artifact.path)
    report = xport.verify(artifact.path)
    assert not report.passed
    assert report.verdicts[0].rule == "loss"
    assert "expected at least" in report.verdicts[0].reason


@pytest.mark.slow
def test_validate_judges_a_calibrated_artifact_on_samples_only(digits, tmp_path):
    folder, x, _ = digits
    source = folder / "digits.onnx"
    artifact = xport.convert(
        source, to="onnx", output=tmp_path / "d.onnx", quantize="int8", calibration=folder / "calibration.npz"
    )
    seeded = xport.validate(source, artifact.path, batch=[4], runs=0, threads=1)
    assert seeded.passed, seeded.verdict
    assert {v.loss for c in seeded.cells for v in c.outputs} == {None}
    assert any("calibrated on samples" in note for note in seeded.notes)
    given = xport.validate(source, artifact.path, input_data={"image": x[:40]}, runs=0, threads=1)
    assert given.passed, given.verdict
    (found,) = [v.loss for c in given.cells for v in c.outputs]
    assert found.sqnr_db > 25


@pytest.mark.slow
@pytest.mark.parametrize(("to", "quantize"), [("onnx", "dynamic"), ("tflite", "dynamic")])
def test_dynamic_digits_need_no_samples(digits, tmp_path, to, quantize):
    folder, x, y = digits
    source = folder / "digits.onnx"
    artifact = xport.convert(source, to=to, output=tmp_path / f"d.{to}", quantize=quantize)
    assert accuracy(artifact.path, x, y) >= accuracy(source, x, y) - 0.01
    assert loss(artifact)["sqnr_db"] > 30
    assert artifact.path.stat().st_size < 0.7 * source.stat().st_size
    assert xport.verify(artifact.path).passed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "dtype", "least"),
    [
        ("onnx", "float16", 60),
        ("tflite", "float16", 60),
        ("savedmodel", "float16", 60),
        ("pt2", "float16", 60),
        ("torchscript", "float16", 60),
        ("onnx", "bfloat16", 40),
        ("savedmodel", "bfloat16", 40),
        ("pt2", "bfloat16", 40),
        ("torchscript", "bfloat16", 40),
    ],
)
def test_narrow_floats_behind_a_float32_interface(digits, tmp_path, to, dtype, least):
    folder, *_ = digits
    source = folder / "digits.onnx"
    artifact = xport.convert(source, to=to, output=tmp_path / "d", dtype=dtype)
    assert least < loss(artifact)["sqnr_db"] < 90
    assert loss(artifact)["precision"] == dtype
    assert {s.dtype for s in (*artifact.signature.inputs, *artifact.signature.outputs)} == {"float32"}
    assert xport.verify(artifact.path).passed


@pytest.fixture
def encoder():
    """A transformer encoder with a classifier, as a live module."""
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
            self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = torch.nn.Linear(32, 5)

        def forward(self, x):
            return self.head(self.encoder(x).mean(dim=1))

    return Encoder().eval()


@pytest.mark.slow
def test_a_transformer_encoder_with_dynamic_weights(encoder, tmp_path):
    artifact = xport.convert(
        encoder, to="onnx", output=tmp_path / "e.onnx", inputs=["x:float32[batch,6,32]"], quantize="dynamic"
    )
    assert loss(artifact)["sqnr_db"] > 20
    kinds = {n.op_type for n in onnx.load(artifact.path).graph.node}
    assert kinds & {"MatMulInteger", "DynamicQuantizeMatMul"}


@pytest.mark.slow
def test_a_transformer_encoder_with_a_layer_in_float(encoder, tmp_path):
    artifact = xport.convert(
        encoder,
        to="onnx",
        output=tmp_path / "k.onnx",
        inputs=["x:float32[batch,6,32]"],
        quantize="int8",
        calibration=samples({"x": (6, 32)}, 64),
        keep_float=["encoder.layers.1"],
    )
    assert artifact.proof.options["precision"]["asked"]
    assert loss(artifact)["sqnr_db"] > 15


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "tflite"])
def test_collapse_fails_loudly_and_the_search_mends_it(hostile, tmp_path, capsys, to):
    source, calibration = hostile
    target = tmp_path / f"h.{to}"
    arguments = ["convert", str(source), "--to", to, "-o", str(target), "--quantize", "int8"]
    arguments += ["--calibration", str(calibration)]
    assert run(arguments) == 3
    assert "expected at least 12 dB" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert run([*arguments, "--until", "sqnr=25", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    found = said["precision"]
    assert found["before_db"] < 12 < 25 <= found["after_db"]
    assert set(found["kept"][:2]) == {"huge", "tame"}
    assert len(found["kept"]) <= 3
    assert said["outputs"][0]["loss"]["least_db"] == 25
    assert said["outputs"][0]["loss"]["sqnr_db"] >= 25
    assert xport.verify(target).passed


@pytest.mark.slow
def test_what_cannot_be_reached_is_told_with_the_best_figure(hostile, tmp_path):
    source, calibration = hostile
    with pytest.raises(
        ParityError, match=r"No int8 form keeps 120 dB: \S+ dB are left with every layer in int8, at best \S+ dB"
    ):
        xport.convert(
            source, to="onnx", output=tmp_path / "h.onnx", quantize="int8", calibration=calibration, until="sqnr=120"
        )
    assert not list(tmp_path.iterdir())


def test_refusals_before_any_work(tmp_path):
    source = save_residual(tmp_path / "net.onnx")
    good = samples({"x": (3, 12, 12)}, 16)

    def convert(**options):
        return xport.convert(source, output=tmp_path / "out", **{"to": "onnx", "quantize": "int8", **options})

    with pytest.raises(InputsError, match="needs calibration data"):
        convert()
    with pytest.raises(InputsError, match=r"'x' has shape \[16, 12, 12, 3\], expected \[samples, 3, 12, 12\]"):
        convert(calibration={"x": np.moveaxis(good["x"], 1, -1)})
    with pytest.raises(UnsupportedError, match="makes no int8 savedmodel"):
        convert(to="savedmodel", calibration=good)
    with pytest.raises(UsageError, match="exclude each other"):
        convert(dtype="float16", calibration=good)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.slow
def test_names_that_are_not_there_and_sources_that_are_int8_already(tmp_path):
    source = save_residual(tmp_path / "net.onnx")
    good = samples({"x": (3, 12, 12)}, 16)
    with pytest.raises(UsageError, match="'pointwize' fits no node and no module") as caught:
        xport.convert(
            source, to="onnx", output=tmp_path / "o", quantize="int8", calibration=good, keep_float=["pointwize"]
        )
    assert "pointwise" in caught.value.fix
    made = xport.convert(source, to="onnx", output=tmp_path / "int8.onnx", quantize="int8", calibration=good)
    with pytest.raises(UsageError, match="is int8 already"):
        xport.convert(made.path, to="onnx", output=tmp_path / "o", dtype="float16")
