"""What bad input gets: a message with a fix, the right exit code, nothing written, no traceback."""

import errno
import zipfile

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from xport.convert.attempts import Attempts


@pytest.fixture
def refused(call, tiny):
    """Calls ``xport convert`` with something wrong; nothing new may lie around afterwards."""

    def refused(*arguments, code=2, words=()):
        before = sorted(tiny.parent.iterdir())
        found, out, err = call("convert", *arguments)
        assert found == code, err
        assert out == ""
        assert err.startswith(("Error: ", "Usage: ", "reading", "Warning"))
        for word in words:
            assert word in err
        assert sorted(tiny.parent.iterdir()) == before
        return err

    return refused


def test_a_missing_file(refused):
    refused("nothing.pt", "--to", "onnx", words=["does not exist"])


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (b"just some words\n", "not a model"), (b"\x00" * 64, "not a model")]
)
def test_a_file_that_is_no_model(refused, tiny, content, words):
    (tiny.parent / "model.pt").write_bytes(content)
    refused("model.pt", "--to", "onnx", words=[words])


def test_a_zip_that_is_no_model(refused, tiny):
    with zipfile.ZipFile(tiny.parent / "model.pt", "w") as archive:
        archive.writestr("holiday.txt", "sun")
    refused("model.pt", "--to", "onnx", words=["zip archive"])


def test_an_unknown_target(refused, tiny):
    refused(tiny, "--to", "wavefront", words=["Unknown format 'wavefront'", "Use one of", "savedmodel"])


def test_a_target_that_no_route_reaches(refused, tiny):
    refused(tiny, "--to", "keras", words=["No route leads from onnx to keras", "Targets are"])


def test_a_missing_option_and_an_unknown_one(refused, tiny):
    refused(tiny, words=["--to"])
    refused(tiny, "--to", "onnx", "--frobnicate", words=["--frobnicate"])


@pytest.mark.parametrize("spec", ["x", "x:float32", "x:float32[a b]", "x:float33[1]", "x:float32[1,-2]", ":float32[1]"])
def test_a_malformed_input_spec(refused, tiny, spec):
    refused(tiny, "--to", "tflite", "--input", spec, words=["Error: "])


def test_an_unknown_way(refused, tiny):
    refused(tiny, "--to", "tflite", "--via", "nonsense", words=["Unknown format 'nonsense'"])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((2, 4))}, "dtype float64, expected float32"),
        ({"wrong": np.zeros((2, 4), np.float32)}, "'x' is missing"),
        ({"x": np.zeros((2, 5), np.float32)}, "shape"),
    ],
)
def test_user_inputs_that_do_not_fit(refused, tiny, arrays, words):
    np.savez(tiny.parent / "mine.npz", **arrays)
    refused(tiny, "--to", "onnx", "-o", "out.onnx", "--inputs", "mine.npz", words=[words])


def test_user_inputs_that_are_missing(refused, tiny):
    refused(tiny, "--to", "onnx", "-o", "out.onnx", "--inputs", "no.npz", words=["does not exist"])


def test_an_existing_destination(refused, tiny):
    (tiny.parent / "out.onnx").write_text("mine")
    refused(tiny, "--to", "onnx", "-o", "out.onnx", words=["exists already", "--force"])
    assert (tiny.parent / "out.onnx").read_text() == "mine"


def test_a_destination_in_a_missing_folder(refused, tiny):
    refused(tiny, "--to", "onnx", "-o", "no/such/out.onnx", words=["does not exist", "mkdir -p"])


def test_a_destination_that_cannot_be_written(refused, tiny, monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    refused(tiny, "--to", "onnx", "-o", "out.onnx", words=["Permission denied", "--output"])


def test_a_full_disk(refused, tiny, monkeypatch):
    def take(self, prefix, source):
        (self.staging.folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Attempts, "_take", take)
    refused(tiny, "--to", "onnx", "-o", "out.onnx", words=["is full", "Free some space"])


def fail_parity(monkeypatch, save_tiny):
    def take(self, prefix, source):
        target = self.staging.room("step") / self.staging.destination.name
        return save_tiny(target, scale=1.01)

    monkeypatch.setattr(Attempts, "_take", take)


@pytest.mark.usefixtures("without_float64")
def test_a_result_that_fails_parity(refused, tiny, monkeypatch, save_tiny):
    fail_parity(monkeypatch, save_tiny)
    (tiny.parent / "out.onnx").write_text("mine")
    err = refused(tiny, "--to", "onnx", "-o", "out.onnx", "--force", code=3, words=["y:", "expected", "--rtol"])
    assert "not the same model" in err
    assert (tiny.parent / "out.onnx").read_text() == "mine"


@pytest.mark.usefixtures("without_float64")
def test_errors_are_one_json_object_when_asked_for(call_json, tiny, monkeypatch, save_tiny):
    code, found = call_json("convert", "nothing.pt", "--to", "onnx")
    assert (code, found["error"]["type"], found["error"]["exit_code"]) == (2, "UnreadableModelError", 2)
    assert found["error"]["fix"]
    code, found = call_json("convert", tiny)
    assert (code, found["error"]["type"]) == (2, "MissingParameter")
    fail_parity(monkeypatch, save_tiny)
    code, found = call_json("convert", tiny, "--to", "onnx", "-o", "out.onnx")
    assert (code, found["error"]["type"]) == (3, "ParityError")


def test_names_that_look_like_markup_are_printed_as_they_are(call, save_tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "[bold]m[red].onnx", names=("[red]x[/red]", "[link=file]y"))
    code, out, _ = call("inspect", "[bold]m[red].onnx")
    assert code == 0
    for name in ("[bold]m[red].onnx", "[red]x[/red]", "[link=file]y"):
        assert name in out


def test_an_unexpected_error_is_short_and_asks_for_a_report(call, tiny, monkeypatch):
    def explode(*_, **__):
        raise RuntimeError("inner trouble\nwith details")

    monkeypatch.setattr("xport.convert.api.open_source", explode)
    code, _, err = call("convert", tiny, "--to", "onnx")
    assert code == 1
    assert "inner trouble" in err
    assert "details" not in err
    assert "-v" in err


def test_operators_that_are_lacking_are_all_named_with_their_nodes(refused, tmp_path):
    def spec(name):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 3, 3])

    nodes = [
        onnx.helper.make_node("Inverse", ["x"], ["a"], name="first", domain="com.microsoft"),
        onnx.helper.make_node("Inverse", ["a"], ["b"], name="second", domain="com.microsoft"),
        onnx.helper.make_node("FastGelu", ["b"], ["c"], name="fine", domain="com.microsoft"),
        onnx.helper.make_node("MurmurHash3", ["c"], ["y"], name="third", domain="com.microsoft"),
    ]
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.UINT32, ["N", 3, 3])
    graph = onnx.helper.make_graph(nodes, "g", [spec("x")], [out])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "lacking.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    words = ["Inverse", "first", "second", "MurmurHash3", "third", "docs/operators.md"]
    refused(path, "--to", "savedmodel", "-o", "out", words=words)
    assert not (tmp_path / "out").exists()


def test_external_data_outside_the_folder(refused, tmp_path):
    weights = np.ones((300, 300), np.float32)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 300])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 300])],
            [onnx.numpy_helper.from_array(weights, "w")],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=9,
    )
    inner = tmp_path / "inner"
    inner.mkdir()
    onnx.save(model, inner / "m.onnx", save_as_external_data=True, location="w.bin")
    (inner / "w.bin").rename(tmp_path / "w.bin")
    stolen = onnx.load(inner / "m.onnx", load_external_data=False)
    for entry in stolen.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../w.bin"
    (inner / "m.onnx").write_bytes(stolen.SerializeToString())
    refused(inner / "m.onnx", "--to", "onnx", "-o", "out.onnx", words=["w.bin"])
