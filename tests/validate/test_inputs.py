import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xport.errors import InputsError
from xport.signature import Signature, TensorSpec
from xport.validate.inputs import EDGES, cases, integer_bounds, load_user_inputs, settings


def signature(*specs):
    return Signature(tuple(TensorSpec.parse(s) for s in specs), ())


def test_settings_have_two_batch_sizes_and_two_of_every_symbol():
    for ladder in settings(signature("ids:int64[batch,sequence]", "image:float32[batch,3,height,width]")):
        assert all(len({sizes[s] for sizes in ladder}) >= 2 for s in ("batch", "sequence", "height", "width"))


def test_settings_end_with_a_batch_of_one():
    assert settings(signature("x:float32[batch,3]"))[0] == [{"batch": 2}, {"batch": 3}, {"batch": 1}]


def test_a_signature_without_symbols_has_one_setting():
    assert settings(signature("x:float32[2,3]")) == [[{}]]


def test_the_leading_symbol_is_the_batch_whatever_its_name():
    assert [s["n"] for s in settings(signature("x:float32[n,3]"))[0]] == [2, 3, 1]


def test_images_get_sizes_that_can_be_halved():
    ladder = settings(signature("x:float32[batch,3,h,w]"))[0]
    assert all(s["h"] % 8 == 0 and s["w"] % 8 == 0 and s["h"] != s["w"] for s in ladder)


def test_the_same_seed_gives_the_same_bytes():
    sig = signature("x:float32[batch,3]", "ids:int64[batch]")
    hashes = [[c.sha256 for c in cases(sig, seed=seed)] for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_input_keeps_its_bytes_whatever_its_neighbours_are():
    alone, together = cases(signature("x:float32[b,3]")), cases(signature("a:float32[b]", "x:float32[b,3]"))
    np.testing.assert_array_equal(alone[0].inputs["x"], together[0].inputs["x"])


def test_case_names_are_unique():
    names = [c.name for c in cases(signature("x:float32[2]"), repeats=3, kinds=("normal", "zeros"))]
    assert len(set(names)) == 6


def test_integers_stay_within_their_bounds():
    sig = signature("ids:int64[batch,sequence]")
    for case in cases(sig, bounds={"ids": (3, 200)}, repeats=5, kinds=("normal", *EDGES)):
        assert case.inputs["ids"].min() >= 3
        assert case.inputs["ids"].max() < 200


def test_integers_of_unknown_meaning_stay_small():
    drawn = cases(signature("ids:int32[batch,sequence]"), repeats=5)
    assert set(np.concatenate([c.inputs["ids"].ravel() for c in drawn])) == {0, 1}


def test_masks_show_something_in_every_row():
    sig = signature("attention_mask:int64[batch,sequence]", "mask:float32[batch,sequence]", "m:bool[batch,sequence]")
    for case in cases(sig, repeats=5):
        for array in case.inputs.values():
            assert set(np.unique(array)) <= {0, 1}
            assert (array.sum(-1) >= 1).all()
        assert (~case.inputs["m"]).any(-1).all()


def test_lengths_fit_the_sequence_and_come_sorted():
    for case in cases(signature("x:float32[batch,time,4]", "lengths:int64[batch]"), repeats=3):
        lengths = case.inputs["lengths"]
        assert lengths[0] == case.sizes["time"]
        assert (np.diff(lengths) <= 0).all()
        assert lengths.min() >= 1


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "float16", "bfloat16", "complex64", "string", "int4"])
def test_every_dtype_can_be_drawn(dtype):
    for case in cases(signature(f"x:{dtype}[batch,3]", f"s:{dtype}[]"), kinds=("normal", *EDGES)):
        Signature(signature(f"x:{dtype}[batch,3]", f"s:{dtype}[]").inputs, ()).check(case.inputs)


def test_an_unknown_rank_asks_for_a_spec():
    with pytest.raises(InputsError, match="rank"):
        cases(Signature((TensorSpec("x", "float32", None),), ()))


def save_graph(path, nodes, inputs, initializers):
    values = [helper.make_tensor_value_info(n, TensorProto.INT64, s) for n, s in inputs.items()]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes, "g", values, [out], [numpy_helper.from_array(a, n) for n, a in initializers.items()]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def test_bounds_follow_the_graph_to_the_table(tmp_path):
    nodes = [
        helper.make_node("Unsqueeze", ["ids", "axes"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.INT32),
        helper.make_node("Add", ["b", "two"], ["c"]),
        helper.make_node("Gather", ["table", "c"], ["y"]),
    ]
    tables = {"table": np.zeros((200, 4), np.float32), "axes": np.array([0]), "two": np.array(2, np.int32)}
    save_graph(tmp_path / "m.onnx", nodes, {"ids": ["batch"], "free": ["batch"]}, tables)
    assert integer_bounds(tmp_path / "m.onnx") == {"ids": (0, 198)}


def test_bounds_take_the_smallest_table_and_see_half_precision_ones(tmp_path):
    nodes = [
        helper.make_node("Cast", ["half"], ["full"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["full", "ids"], ["a"]),
        helper.make_node("Gather", ["large", "ids"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    tables = {"half": np.zeros((50, 4), np.float16), "large": np.zeros((90, 4), np.float32)}
    save_graph(tmp_path / "m.onnx", nodes, {"ids": ["batch"]}, tables)
    assert integer_bounds(tmp_path / "m.onnx") == {"ids": (0, 50)}


def test_user_inputs_are_read_in_the_order_of_the_signature(tmp_path):
    sig = signature("a:float32[batch]", "b:int64[batch]")
    np.savez(tmp_path / "i.npz", b=np.array([1]), a=np.array([1], np.float32))
    assert list(load_user_inputs(tmp_path / "i.npz", sig)) == ["a", "b"]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((2, 3))}, "float64"),
        ({"wrong": np.zeros((2, 3), np.float32)}, "missing"),
        ({"x": np.zeros((2, 3), np.float32), "z": np.zeros(1)}, "Unknown"),
        ({"x": np.zeros((2, 4), np.float32)}, "shape"),
        ({"x": np.array([{}], dtype=object)}, "cannot be read"),
    ],
)
def test_user_inputs_that_do_not_fit_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "i.npz", **arrays)
    with pytest.raises(InputsError, match=words):
        load_user_inputs(tmp_path / "i.npz", signature("x:float32[batch,3]"))


def test_files_that_are_no_npz_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "bare.npy", np.zeros(3))
    for name in ("text.npz", "bare.npy", "missing.npz"):
        with pytest.raises(InputsError):
            load_user_inputs(tmp_path / name, signature("x:float32[batch,3]"))
