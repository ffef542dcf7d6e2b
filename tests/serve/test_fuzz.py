"""Bodies of any kind end in tensors that fit the signature, or in a `ServingError`: never in another exception."""

import contextlib
import json
import struct

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xport.errors import InputsError, ServingError, UnsupportedError
from xport.serve.protocols import json_text, tf_examples, tf_predict, v2_infer, v2_protos
from xport.serve.protocols.v2_protos import inference
from xport.serve.tf_serving_protos import from_tensor_proto, to_tensor_proto
from xport.signature import DTYPES, Signature, TensorSpec, dtype_name, numpy_dtype
from xport.tf_protos import framework

DTYPE = st.sampled_from([d for d in DTYPES if not d.startswith("complex")])
SHAPE = st.one_of(st.none(), st.lists(st.sampled_from([0, 1, 2, 3, "batch"]), max_size=3).map(tuple))
SIGNATURE = st.lists(
    st.builds(TensorSpec, st.sampled_from(["x", "é", "a_bytes"]), DTYPE, SHAPE),
    min_size=1,
    max_size=3,
    unique_by=lambda s: s.name,
).map(lambda specs: Signature(tuple(specs), tuple(specs)))
NUMBER = st.one_of(
    st.integers(-300, 300),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([2**24, 2**31, 2**53, 2**63, 2**64, -(2**63), 1e39, 3.5e38, -0.0]),
)
LEAF = st.one_of(
    st.none(),
    st.booleans(),
    NUMBER,
    st.text(max_size=5),
    st.builds(lambda t: {"b64": t}, st.text("AZaz09+/=-", max_size=6)),
)
VALUE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["x", "é", "b64", "z"]), inner, max_size=3)
    ),
    max_leaves=12,
)
KEYS = ["instances", "inputs", "signature_name", "examples", "context", "outputs", "parameters", "id"]
DOCUMENT = st.one_of(st.dictionaries(st.sampled_from(KEYS), VALUE, max_size=4), VALUE)
FEW = settings(deadline=None, suppress_health_check=list(HealthCheck))


def body_of(document):
    return json.dumps(document).encode("utf-8", "surrogatepass")


def check_tensors(tensors, signature):
    for spec in signature.inputs:
        if spec.name in tensors:
            assert dtype_name(tensors[spec.name].dtype) == spec.dtype


@FEW
@given(DOCUMENT, SIGNATURE)
def test_tf_predict(document, signature):
    try:
        body = tf_predict.read_body(json_text.parse(body_of(document)))
        tensors = tf_predict.tensors(body, signature)
    except ServingError:
        return
    assert set(tensors) == {spec.name for spec in signature.inputs}
    check_tensors(tensors, signature)


@FEW
@given(VALUE, DTYPE)
def test_a_tensor_by_the_fast_way_is_what_it_is_by_the_slow_one(value, dtype):
    from xport.serve.protocols import tf_tensors

    spec = TensorSpec("x", dtype, None)

    def attempt():
        try:
            return tf_tensors.tensor(value, spec)
        except ServingError as error:
            return error.message

    fast = attempt()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf_tensors, "_flatten", lambda _: ((), None))
        slow = attempt()
    if isinstance(fast, str):
        assert fast == slow
    else:
        assert fast.dtype == slow.dtype
        np.testing.assert_array_equal(fast, slow)


@FEW
@given(DOCUMENT)
def test_examples(document):
    try:
        body = tf_examples.read_body(json_text.parse(body_of(document)))
    except ServingError:
        return
    assert all(isinstance(example, bytes) for example in body.examples)


INPUT = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.sampled_from(["x", "é"]), VALUE),
        "shape": st.one_of(st.lists(st.integers(0, 3), max_size=3), VALUE),
        "datatype": st.one_of(st.sampled_from(["FP32", "INT64", "BOOL", "BYTES", "FP16", "BF16", "UINT8"]), VALUE),
        "data": VALUE,
        "parameters": st.one_of(st.builds(lambda n: {"binary_data_size": n}, st.integers(-1, 20)), VALUE),
    },
)


@FEW
@given(
    st.fixed_dictionaries(
        {"inputs": st.one_of(st.lists(INPUT, max_size=3), VALUE)},
        optional={"outputs": VALUE, "id": VALUE, "parameters": VALUE},
    ),
    st.binary(max_size=24),
    SIGNATURE,
)
def test_v2_infer(document, raw, signature):
    head = body_of(document)
    try:
        body = v2_infer.read_body(head + raw, str(len(head)))
        v2_infer.wanted(body.document, signature)
        tensors = v2_infer.tensors(body, signature)
    except ServingError:
        return
    check_tensors(tensors, signature)


@FEW
@given(st.binary(max_size=60), st.one_of(st.none(), st.text(max_size=4)))
def test_v2_bytes(body, length):
    with pytest.raises(ServingError):
        v2_infer.tensors(v2_infer.read_body(body, length), Signature((TensorSpec("x", "float32", ()),), ()))


@FEW
@given(st.binary(max_size=80))
def test_json_of_any_bytes(data):
    with contextlib.suppress(ServingError):
        json_text.parse(data)


@FEW
@given(
    st.integers(-2, 40),
    st.lists(st.one_of(st.integers(-1, 4), st.integers(-(2**63), 2**63 - 1)), max_size=4),
    st.binary(max_size=32),
    st.sampled_from(
        ["float_val", "double_val", "int_val", "int64_val", "bool_val", "half_val", "uint32_val", "uint64_val"]
    ),
    st.lists(st.integers(0, 1), max_size=5),
    st.lists(st.binary(max_size=3), max_size=3),
)
def test_tensor_protos(dtype, shape, content, field, values, strings):
    proto = framework.TensorProto(dtype=dtype, tensor_content=content, string_val=strings)
    getattr(proto, field).extend(map(bool, values) if field == "bool_val" else values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    try:
        array = from_tensor_proto(proto, limit=10_000)
    except (InputsError, UnsupportedError):
        return
    assert list(array.shape) == shape
    assert array.size * array.itemsize <= 10_000


HUGE = [[0, 401399674, 5744506433], [2**62, 0, 2**62], [0] + [2**31] * 3, [0] * 40]


@pytest.mark.parametrize("shape", HUGE, ids=str)
def test_a_zero_does_not_hide_huge_sizes(shape):
    proto = framework.TensorProto(dtype=1)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(InputsError, match="too large"):
        from_tensor_proto(proto)
    tensor = {"name": "x", "datatype": "FP32", "shape": shape, "data": []}
    body = v2_infer.read_body(body_of({"inputs": [tensor]}), None)
    with pytest.raises(ServingError, match="no request can fill"):
        v2_infer.tensors(body, Signature((TensorSpec("x", "float32", None),), ()))
    request = inference.ModelInferRequest()
    request.inputs.add(name="x", datatype="FP32", shape=shape)
    with pytest.raises(ServingError, match="no request can fill"):
        v2_protos.tensors(request, Signature((TensorSpec("x", "float32", None),), ()))


@pytest.mark.parametrize(
    "dtype", [d for d in DTYPES if d in ("bool", "string", "bfloat16") or d[:3] in ("int", "uin", "flo")]
)
def test_tensor_protos_there_and_back(dtype):
    if dtype.startswith("float8") or dtype.startswith("float4") or dtype in ("int2", "uint2", "int4", "uint4"):
        return
    array = (
        np.array([b"a", b"", b"\xff"], object) if dtype == "string" else np.array([0, 1, 3]).astype(numpy_dtype(dtype))
    )
    back = from_tensor_proto(to_tensor_proto(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@FEW
@given(
    st.sampled_from(["x", "z"]),
    st.sampled_from(["FP32", "INT8", "BOOL", "BYTES", ""]),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    st.lists(st.binary(max_size=20), max_size=2),
    SIGNATURE,
)
def test_v2_grpc(name, datatype, shape, values, raw, signature):
    request = inference.ModelInferRequest(raw_input_contents=raw)
    entry = request.inputs.add(name=name, datatype=datatype, shape=shape)
    entry.contents.int_contents.extend(values)
    with contextlib.suppress(ServingError):
        check_tensors(v2_protos.tensors(request, signature), signature)


FLOATS = st.lists(st.floats(width=32), max_size=6)


@FEW
@given(FLOATS, st.booleans())
def test_floats_come_back_to_the_last_bit(values, rows):
    y = np.array(values, np.float32)
    data = tf_predict.answer({"y": y}, rows=rows)
    back = np.array(json.loads(data)["predictions" if rows else "outputs"], np.float32)
    np.testing.assert_array_equal(back, y)
    if np.isfinite(y).all():
        orjson.loads(data)


def test_lengths_of_strings_cannot_be_made_to_overflow():
    data = struct.pack("<I", 0xFFFFFFFF) * 3
    from xport.serve.protocols.v2_tensors import from_bytes

    with pytest.raises(ServingError, match="Input 's'"):
        from_bytes(data, TensorSpec("s", "string", None), [3])
