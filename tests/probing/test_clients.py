"""URLs, interfaces and digits, as clients read them."""

import json

import numpy as np
import pytest

from xport.errors import ServingError, UsageError
from xport.serve.clients.address import Served, is_url, parse_url
from xport.serve.clients.base import Target
from xport.serve.clients.connection import Connection
from xport.serve.clients.http import refusal
from xport.serve.clients.interface import from_tf, from_v2, merged
from xport.serve.clients.tf_serving import TfServing, read_outputs
from xport.serve.clients.v2 import V2
from xport.serve.protocols.decimals import Decimals
from xport.signature import Signature, TensorSpec


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:8501", ("http://h:8501", "auto", "", "", "")),
        ("http://h:8501/", ("http://h:8501", "auto", "", "", "")),
        ("http://h:8501/v1/models", ("http://h:8501", "auto", "", "", "")),
        ("http://h:8501/v1/models/a", ("http://h:8501", "tf-serving", "a", "", "")),
        ("http://h:8501/v1/models/a:predict", ("http://h:8501", "tf-serving", "a", "", "")),
        ("http://h:8501/v1/models/a/versions/3:predict", ("http://h:8501", "tf-serving", "a", "3", "")),
        ("http://h:8501/v1/models/a/labels/stable", ("http://h:8501", "tf-serving", "a", "", "stable")),
        ("https://h/tenant/v2/models/a%2Fb/infer", ("https://h/tenant", "v2", "a/b", "", "")),
        ("http://[::1]:8000/v2/models/a/versions/12/infer", ("http://[::1]:8000", "v2", "a", "12", "")),
        ("http://h:8080/predictions/a/1.0", ("http://h:8080", "torchserve", "a", "1.0", "")),
        ("grpc://h:8500/a", ("grpc://h:8500", "auto", "a", "", "")),
        ("grpcs://h:8500/v2/models/a", ("grpcs://h:8500", "v2", "a", "", "")),
    ],
)
def test_what_a_url_says(url, expected):
    served = parse_url(url)
    assert (served.url, served.protocol, served.model, served.version, served.label) == expected
    assert is_url(url)


@pytest.mark.parametrize("url", ["ftp://h", "http://", "grpc://h", "http://h:port/", "http://h:99999999"])
def test_urls_that_are_none(url):
    with pytest.raises(UsageError):
        parse_url(url)


def test_a_contradiction_is_refused():
    with pytest.raises(UsageError, match="The URL says model 'a', the options say 'b'"):
        parse_url("http://h/v1/models/a", model="b")
    with pytest.raises(UsageError, match="The URL says protocol 'tf-serving', the options say 'v2'"):
        parse_url("http://h/v1/models/a", protocol="v2")


def test_a_password_is_sent_and_not_shown():
    served = parse_url("http://me:se%3Acret@h:80/v1/models/a")
    assert served.headers == (("Authorization", "Basic bWU6c2U6Y3JldA=="),)
    assert "cret" not in served.name
    assert served.url == "http://h:80"


def test_the_leading_free_size_is_the_batch():
    rows = [{"name": "a", "datatype": "INT64", "shape": [-1, -1]}, {"name": "b", "datatype": "FP32", "shape": [-1, 3]}]
    signature = from_v2({"inputs": rows, "outputs": [{"name": "c", "datatype": "BOOL", "shape": [2, -1]}]})
    assert list(map(str, signature.inputs)) == ["a:int64[batch,a_dim1]", "b:float32[batch,3]"]
    assert str(signature.outputs[0]) == "c:bool[2,c_dim1]"


def test_an_artifact_lends_its_order_and_words_where_it_agrees():
    told = from_tf(
        {
            "inputs": {"b": _info("DT_FLOAT", -1, 3), "a": _info("DT_INT64", -1, -1)},
            "outputs": {"c": _info("DT_FLOAT", 5)},
        }
    )
    known = Signature(
        (TensorSpec("a", "int64", ("n", "seq")), TensorSpec("b", "float32", ("n", 4))),
        (TensorSpec("c", "float32", ("n",)),),
    )
    found = merged(told, known)
    # b's size contradicts, so the server's own words stay
    assert list(map(str, found.inputs)) == ["a:int64[n,seq]", "b:float32[n,3]"]
    assert str(found.outputs[0]) == "c:float32[5]"
    assert merged(None, known) is known


def _info(dtype, *sizes):
    return {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(s)} for s in sizes]}, "name": "t:0"}


@pytest.mark.parametrize("metadata", [{}, {"inputs": [{"name": "x"}], "outputs": []}, {"inputs": 3, "outputs": []}])
def test_broken_metadata_is_refused(metadata):
    with pytest.raises(ServingError):
        from_v2(metadata)


def nobody(*_):
    raise AssertionError("asked")


def test_raw_tensors_and_json_carry_the_same():
    inputs = {"x": np.array([[1.5, np.inf]], np.float32), "s": np.array(["a", b"b"], object)}
    binary, plain = (V2(nobody, form=form).encode(Target("m", "3"), inputs) for form in ("binary", "json"))
    assert binary.path == plain.path == "/v2/models/m/versions/3/infer"
    length = int(binary.headers["Inference-Header-Content-Length"])
    assert binary.body[length:] == inputs["x"].tobytes() + b"\1\0\0\0a\1\0\0\0b"
    assert [row["data"] for row in json.loads(plain.body)["inputs"]] == [[1.5, float("inf")], ["a", "b"]]


def test_what_json_cannot_carry_is_named():
    import ml_dtypes

    with pytest.raises(ServingError, match="JSON cannot carry bfloat16"):
        V2(nobody, form="json").encode(Target("m"), {"x": np.zeros(2, ml_dtypes.bfloat16)})


def test_rows_need_a_common_first_size():
    with pytest.raises(ServingError, match=r"one common first dimension, got a\[2\], b\[3\]"):
        TfServing(nobody, form="row").encode(Target("m"), {"a": np.zeros(2), "b": np.zeros(3)})


INTERFACE = Signature((), (TensorSpec("y", "float32", (1,)), TensorSpec("n", "int64", (1,))))


@pytest.mark.parametrize(
    ("document", "rows", "words"),
    [
        ({"predictions": []}, False, "no 'outputs'"),
        ({"outputs": {"y": [1.0], "other": [2]}}, False, "has the output 'other'"),
        ({"outputs": {"y": [1.0], "n": [2.5]}}, False, "'n' is no int64 tensor"),
        ({"outputs": {"y": [True], "n": [2]}}, False, "'y' is no float32 tensor"),
        ({"outputs": {"y": [[1.0], [1.0, 2.0]], "n": [2]}}, False, "'y' is no float32 tensor"),
        ({"outputs": [1]}, False, "is a list"),
    ],
)
def test_answers_of_another_shape_are_refused(document, rows, words):
    with pytest.raises(ServingError, match=words):
        read_outputs(document, INTERFACE, rows=rows)


def test_an_html_page_is_called_one():
    assert "an HTML page" in refusal(404, b"<html><body>nginx</body></html>", {}).message
    assert refusal(302, b"", {"Location": "https://login"}).message == "302: moved to https://login"
    assert "--token-file" in refusal(403, b"", {}).fix


def test_shortest_decimals_lose_nothing():
    values = np.random.default_rng(0).standard_normal(500).astype(np.float32)
    decimals = Decimals()
    decimals.see(json.dumps([float(str(v)) for v in values]).encode())
    assert decimals.step(values) is None
    assert decimals.words("float32") == ""
    off = values * np.float32(1.001)
    np.testing.assert_array_equal(decimals.within(off, values), off)


@pytest.mark.parametrize("write", ["{:.6g}", "{:.6f}", "{:.5e}"])
def test_cut_decimals_are_no_error_of_the_model_and_more_is(write):
    values = np.random.default_rng(1).uniform(-3, 3, 500).astype(np.float32)
    text = "[" + ", ".join(write.format(v) for v in values) + "]"
    read = np.array(json.loads(text)).astype(np.float32)
    assert (read != values).any()
    decimals = Decimals()
    decimals.see(text.encode())
    np.testing.assert_allclose(decimals.within(read, values), values, rtol=1.2e-7)
    assert "fewer than float32 has" in decimals.words("float32")
    off = decimals.within(read, values * np.float32(1.01))
    assert np.abs(off / values - 1.01).min() > 0.005


def test_round_numbers_are_not_taken_for_few_digits():
    decimals = Decimals()
    decimals.see(json.dumps([0.5, 1.25, 2.0, 0.75] * 20).encode())
    assert decimals.step(np.ones(3, np.float32)) is None


@pytest.mark.parametrize(
    ("name", "protocol", "form"),
    [("Triton", "v2", "binary"), ("KServeV1", "tf-serving", "column"), ("TfServing", "tf-serving", "column")],
)
def test_the_protocol_is_found_out(standins, numpy_net, name, protocol, form):
    known = Signature((TensorSpec("x", "float32", ("b", 8)),), tuple(TensorSpec(n, "float32", ("b", 4)) for n in "yz"))
    with (
        getattr(standins, name)(numpy_net) as server,
        Connection(Served(server.url, model="net", interface=known)) as found,
    ):
        assert (found.served.protocol, found.served.form) == (protocol, form)
        assert found.signature == known
