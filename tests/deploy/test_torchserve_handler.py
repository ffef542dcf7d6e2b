"""TorchServe's handler, as it lies in an archive, without TorchServe: every form of a request, and what is refused."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xport.convert.api import convert
from xport.serve.packaging.api import package
from xport.serve.packaging.torchserve_replay import Context, load_handler

X = [[1.0, 2.0, 3.0, 4.0], [0.5, -1.0, 0.0, 2.0]]


def save_pair(path):
    """Two inputs of other dtypes, two outputs: ``s = a + cast(n)``, ``flag = not q``."""
    f, i, b = TensorProto.FLOAT, TensorProto.INT32, TensorProto.BOOL
    nodes = [
        helper.make_node("Cast", ["n"], ["c"], to=f),
        helper.make_node("Add", ["a", "c"], ["s"]),
        helper.make_node("Not", ["q"], ["flag"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "pair",
        [info("a", f, ["batch", 2]), info("n", i, ["batch", 2]), info("q", b, ["batch"])],
        [info("s", f, ["batch", 2]), info("flag", b, ["batch"])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def served(proven, tmp_path_factory):
    """The handler of an unpacked archive, by the model's name."""
    root = tmp_path_factory.mktemp("mar")
    pair = convert(save_pair(root / "pair.onnx"), "onnx", root / "pair_proven.onnx").path
    package([f"tiny={proven('onnx')}", f"pair={pair}"], "torchserve", root / "bundle")
    handlers = {}
    for name in ("tiny", "pair"):
        with zipfile.ZipFile(root / "bundle/models" / f"{name}.mar") as archive:
            archive.extractall(root / name)
        handlers[name] = (load_handler(root / name), root / name)
        handlers[name][0].handle(None, Context(root / name))
    return handlers


@pytest.fixture
def ask(served):
    """Sends bodies in one batch; returns status and answer of each."""

    def ask(*bodies, model="tiny"):
        handler, folder = served[model]
        context = Context(folder)
        answers = handler.handle([{"body": body} for body in bodies], context)
        assert len(answers) == len(bodies)
        return [(context.status.get(i, 200), decode(answer)) for i, answer in enumerate(answers)]

    return ask


def decode(answer):
    if isinstance(answer, str):
        return json.loads(answer)
    found = np.load(io.BytesIO(answer), allow_pickle=False)
    return dict(found) if hasattr(found, "files") else found


def dumps(value) -> bytes:
    return json.dumps(value).encode()


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.fixture
def expected(ask):
    ((_, answer),) = ask(npy(np.array(X, np.float32)))
    assert answer.dtype == np.float32
    return answer


def test_every_form_gives_the_same_numbers(ask, expected):
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": np.ravel(X).tolist()}
    bodies = {
        "rows": {"instances": X},
        "objects": {"instances": [{"x": row} for row in X]},
        "column": {"inputs": X},
        "columns": {"inputs": {"x": X}},
        "v2": {"id": "7", "inputs": [tensor]},
        "v2 nested": {"inputs": [{**tensor, "data": X}]},
    }
    answers = dict(zip(bodies, ask(*map(dumps, bodies.values())), strict=True))
    assert {status for status, _ in answers.values()} == {200}
    values = {name: answer for name, (_, answer) in answers.items()}
    for name, key in (
        ("rows", "predictions"),
        ("objects", "predictions"),
        ("column", "outputs"),
        ("columns", "outputs"),
    ):
        assert list(values[name]) == [key]
        np.testing.assert_allclose(values[name][key], expected, rtol=1e-6)
    assert values["v2"]["id"] == "7"
    assert values["v2"]["model_name"] == "tiny"
    (output,) = values["v2"]["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", "FP32", [2, 3])
    np.testing.assert_allclose(np.reshape(output["data"], (2, 3)), expected, rtol=1e-6)
    assert "id" not in values["v2 nested"]


def test_what_torchserve_has_decoded_already_is_understood(ask):
    assert ask({"instances": X}) == ask(dumps({"instances": X}))


def test_several_inputs_and_outputs(ask):
    rows = [{"a": [1, 2], "n": [3, 4], "q": True}, {"a": [0.5, 0], "n": [1, 1], "q": False}]
    columns = {"a": [[1, 2], [0.5, 0]], "n": [[3, 4], [1, 1]], "q": [True, False]}
    arrays = {"a": np.float32(columns["a"]), "n": np.int32(columns["n"]), "q": np.array(columns["q"])}
    (by_row, by_column, by_npz) = ask(
        dumps({"instances": rows}), dumps({"inputs": columns}), npz(**arrays), model="pair"
    )
    s, flag = [[4.0, 6.0], [1.5, 1.0]], [False, True]
    assert by_column == (200, {"outputs": {"s": s, "flag": flag}})
    assert by_row == (200, {"predictions": [{"s": s[0], "flag": False}, {"s": s[1], "flag": True}]})
    assert by_npz[1]["s"].dtype == np.float32
    assert (by_npz[1]["s"].tolist(), by_npz[1]["flag"].tolist()) == (s, flag)


def test_a_bad_request_harms_no_neighbour(ask):
    good = dumps({"instances": X})
    alone = ask(good)[0]
    batch = ask(good, b"{", good, dumps({"instances": [[1, 2]]}), dumps({"instances": X[:1]}))
    assert [status for status, _ in batch] == [200, 400, 200, 400, 200]
    for place in (0, 2):
        np.testing.assert_allclose(batch[place][1]["predictions"], alone[1]["predictions"], rtol=1e-6)
    np.testing.assert_allclose(batch[4][1]["predictions"], alone[1]["predictions"][:1], rtol=1e-6)


def test_requests_that_the_model_refuses_together_are_run_alone(served, ask, monkeypatch):
    handler, _ = served["tiny"]
    model = handler._served[0]
    run = model._call

    def picky(arrays):
        if np.isnan(arrays[0]).any():
            raise RuntimeError("cannot digest NaN")
        return run(arrays)

    monkeypatch.setattr(model, "_call", picky)
    good, bad = dumps({"instances": X}), b'{"instances": [[NaN, 0, 0, 0]]}'
    (first, second, third) = ask(good, bad, good)
    assert [first[0], second[0], third[0]] == [200, 400, 200]
    assert second[1] == {"error": "The model refused x[1, 4]: cannot digest NaN"}


def test_nan_and_infinity_travel_both_ways(ask):
    ((status, answer),) = ask(b'{"instances": [[NaN, 0, 0, 0], [Infinity, -Infinity, 0, 0]]}')
    assert status == 200
    assert np.isnan(answer["predictions"][0]).all()


BAD = {
    "nothing": (b"", "The document is empty"),
    "broken": (b'{"instances": [', "JSON Parse error"),
    "not utf-8": (b'{"instances": "\xff\xfe"}', "JSON Parse error"),
    "deep": (b"[" * 100_000, "JSON Parse error"),
    "deep values": (dumps({"inputs": json.loads("[" * 200 + "]" * 200)}), "'x'"),
    "no object": (b"[1]", "Expected a JSON object"),
    "neither": (b"{}", "Missing 'inputs' or 'instances' key"),
    "both": (b'{"inputs": 1, "instances": 1}', "expecting only one"),
    "no list": (b'{"instances": 3}', "must be a list"),
    "no rows": (b'{"instances": []}', "No values in 'instances'"),
    "wrong key": (dumps({"instances": [{"z": X[0]}]}), "Expected objects with 'x', got 'z'"),
    "mixed": (dumps({"instances": [{"x": X[0]}, X[1]]}), "list of objects"),
    "extra": (dumps({"inputs": {"x": X, "z": 1}}), "'z'"),
    "ragged": (dumps({"instances": [[1, 2, 3, 4], [1]]}), "'x' is ragged"),
    "text": (dumps({"instances": [["a", "b", "c", "d"]]}), "'x' holds values that are no float32"),
    "null": (dumps({"instances": [[None, 1, 2, 3]]}), "'x' holds values"),
    "flags": (dumps({"instances": [[True, 1, 2, 3]]}), "'x' holds values that are no float32"),
    "too large": (b'{"instances": [[1e300, 0, 0, 0]]}', "'x' holds values that float32 cannot"),
    "too many digits": (dumps({"instances": [[10**400, 0, 0, 0]]}), "'x'"),
    "shape": (dumps({"instances": [[1, 2, 3]]}), "'x' has shape [1, 3], expected ['batch', 4]"),
    "rank": (dumps({"instances": [1, 2, 3, 4]}), "'x' has shape [4]"),
    "v2 name": (dumps({"inputs": [{"name": "z", "shape": [1], "datatype": "FP32", "data": [1]}]}), "'z'"),
    "v2 twice": (
        dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}] * 2}),
        "repeated input 'x'",
    ),
    "v2 datatype": (dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "INT8", "data": [1]}]}), "FP32"),
    "v2 shape": (dumps({"inputs": [{"name": "x", "shape": [-1, 4], "datatype": "FP32", "data": [1]}]}), "'shape'"),
    "v2 count": (dumps({"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [1]}]}), "needs 8"),
    "v2 huge": (dumps({"inputs": [{"name": "x", "shape": [10**12, 4], "datatype": "FP32", "data": [1]}]}), "needs"),
    "v2 zero": (
        dumps({"inputs": [{"name": "x", "shape": [0, 10**15, 10**15], "datatype": "FP32", "data": []}]}),
        "shape",
    ),
    "v2 no data": (dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32"}]}), "'data'"),
    "v2 odd name": (dumps({"inputs": [{"name": {}, "shape": [1], "datatype": "FP32", "data": [1]}]}), "Unknown"),
    "npy dtype": (npy(np.zeros((1, 4))), "'x' has dtype float64, expected float32"),
    "npy cut": (npy(np.zeros((1, 4), np.float32))[:-1], "no .npy file"),
    "npy head": (b"\x93NUMPY\x01", "no .npy file"),
    "npy claim": (npy(np.zeros(4, np.float32)).replace(b"(4,), }", b"(99999999999,), }")[:128] + b"\0" * 16, ".npy"),
    "npy objects": (
        npy(np.zeros((1, 4), np.float32)).replace(b"'<f4'", b"'|O' "),
        "no .npy file",
    ),
    "npz name": (npz(z=np.zeros((1, 4), np.float32)), "'x' is missing"),
    "npz broken": (b"PK\x03\x04 and so on", ".npz file is broken"),
    "npz bomb": (npz(x=np.zeros((2**28 + 1,), np.float32)), "unpacks to more than"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_400_that_says_why(name, ask):
    body, words = BAD[name]
    ((status, answer),) = ask(body)
    assert status == 400
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"n": [[1.0, 2.0]]}, "'n' holds values that are no int32"),
        ({"n": [[2**31, 0]]}, "'n' holds values that int32 cannot"),
        ({"n": [[True, 1]]}, "'n' holds values"),
        ({"q": [1]}, "'q' holds values that are no bool"),
        ({"q": [True, False]}, "'q' has shape [2]"),
    ],
)
def test_integers_and_flags_take_only_their_own(values, words, ask):
    inputs = {"a": [[1, 2]], "n": [[3, 4]], "q": [True], **values}
    ((status, answer),) = ask(dumps({"inputs": inputs}), model="pair")
    assert (status, words in answer["error"]) == (400, True), answer


def test_npy_needs_a_model_with_one_input(ask):
    ((status, answer),) = ask(npy(np.zeros((1, 2), np.float32)), model="pair")
    assert (status, ".npz" in answer["error"]) == (400, True)


def test_big_endian_and_fortran_files_hold_the_same_values(ask, expected):
    odd = np.asfortranarray(np.array(X, ">f4"))
    ((status, answer),) = ask(npy(odd))
    assert status == 200
    np.testing.assert_array_equal(answer, expected)


def test_the_handler_needs_no_xport(served):
    _, folder = served["tiny"]
    for name in ("xport_handler.py", "xport_tensors.py"):
        assert "from xport" not in (folder / name).read_text().replace("from xport_tensors", "")
