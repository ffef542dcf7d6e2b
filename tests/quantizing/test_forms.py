"""The reduced ONNX forms, made in this process."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from quantizing_nets import Net, run, samples, save_hostile, save_lstm, save_residual, save_two_inputs, sqnr

from xport.convert.quantizing import dynamic, narrow, static
from xport.convert.quantizing.preparing import prepare
from xport.errors import ConversionError, UnsupportedError, UsageError

TWO = {"a": (6,), "b": (4,)}
IMAGE = {"x": (3, 12, 12)}


def batches(sizes, count=64, size=16):
    whole = samples(sizes, count)
    return [{n: a[i : i + size] for n, a in whole.items()} for i in range(0, count, size)]


def int8(path, sizes, target, *, keep=(), until=None):
    parts = batches(sizes)
    return static.quantize(prepare(path, path.with_name("prepared.onnx"), keep), target, parts[:3], parts[3:], until)


def weights(path):
    """Of every layer, the dtype in which its weights are stored."""
    model = onnx.load(path)
    constants = {t.name: t.data_type for t in model.graph.initializer}
    made = {o: n for n in model.graph.node for o in n.output}
    found = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "MatMul", "Gemm"):
            name = node.input[1]
            name = made[name].input[0] if name in made else name
            found[node.name] = TensorProto.DataType.Name(constants[name]) if name in constants else "computed"
    return found


@pytest.mark.parametrize(("save", "sizes"), [(save_residual, IMAGE), (save_two_inputs, TWO)])
@pytest.mark.parametrize("rows", [1, 7])
def test_int8_keeps_the_interface_and_most_of_the_signal(tmp_path, save, sizes, rows, capfd):
    source, target = save(tmp_path / "net.onnx"), tmp_path / "int8.onnx"
    int8(source, sizes, target)
    before, after = onnx.load(source).graph, onnx.load(target).graph
    assert [str(v) for v in (*before.input, *before.output)] == [str(v) for v in (*after.input, *after.output)]
    typical = {name: array[:rows] for name, array in samples(sizes).items()}
    assert sqnr(run(source, typical), run(target, typical)) > 25
    assert set(weights(target).values()) == {"INT8"}
    assert {f.name for f in tmp_path.iterdir()} == {"net.onnx", "prepared.onnx", "int8.onnx"}
    assert capfd.readouterr() == ("", "")


def test_weights_have_one_scale_a_channel_and_no_zero_point(tmp_path):
    int8(save_residual(tmp_path / "net.onnx"), IMAGE, tmp_path / "int8.onnx")
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert constants["w2_scale"].shape == (8,)
    assert not constants["w2_zero_point"].any()
    assert constants["w4_scale"].shape == (5,)


@pytest.mark.parametrize("keep", [["pointwise"], ["point*"], ["w3"]])
def test_nodes_to_keep_in_float(tmp_path, keep):
    source = save_residual(tmp_path / "net.onnx")
    if keep == ["w3"]:
        with pytest.raises(UsageError, match="'w3' fits no node"):
            int8(source, IMAGE, tmp_path / "int8.onnx", keep=keep)
        return
    made = int8(source, IMAGE, tmp_path / "int8.onnx", keep=keep)
    assert made.asked == ("pointwise",)
    assert {n for n, kind in weights(tmp_path / "int8.onnx").items() if kind == "FLOAT"} == {"pointwise"}


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"'pointwize' fits no node") as caught:
        prepare(save_residual(tmp_path / "net.onnx"), tmp_path / "p.onnx", ["pointwize"])
    assert "pointwise" in caught.value.fix


def test_one_outlier_channel_ruins_int8_and_the_search_mends_it(tmp_path):
    source, sizes = save_hostile(tmp_path / "net.onnx"), {"x": (16,)}
    typical = samples(sizes)
    int8(source, sizes, tmp_path / "plain.onnx")
    assert sqnr(run(source, typical), run(tmp_path / "plain.onnx", typical)) < 15
    made = int8(source, sizes, tmp_path / "int8.onnx", until=30.0)
    assert made.reached
    assert made.before_db < 15 < 30 <= made.after_db
    assert set(made.kept) <= {"huge", "tame", "relu1"}
    assert weights(tmp_path / "int8.onnx")["third"] == "INT8"
    assert sqnr(run(source, typical), run(tmp_path / "int8.onnx", typical)) > 28


def test_a_threshold_out_of_reach_is_told(tmp_path):
    made = int8(save_hostile(tmp_path / "net.onnx"), {"x": (16,)}, tmp_path / "int8.onnx", until=120.0)
    assert not made.reached
    assert made.before_db <= made.after_db < 120


def test_masks_stay_in_float(tmp_path):

    net = Net({"x": (8,)})
    hidden = net.add("MatMul", ["x", net.weight("w", 8, 8, fan_in=8)], "first")
    masked = net.add("Add", [hidden, net.constant("mask", [0, 0, -3e38, 0, 0, 0, 0, -np.inf])], "masked")
    source = net.save(tmp_path / "net.onnx", net.add("Softmax", [masked], "softmax"), [8])
    made = int8(source, {"x": (8,)}, tmp_path / "int8.onnx")
    assert made.unfit == ("masked", "softmax")
    typical = samples({"x": (8,)})
    assert sqnr(run(source, typical), run(tmp_path / "int8.onnx", typical)) > 25


def test_a_model_without_anything_to_quantize(tmp_path):

    net = Net({"x": (8,)})
    source = net.save(tmp_path / "net.onnx", net.add("Exp", ["x"], "exp"), [8])
    for make in (lambda p, t: static.quantize(p, t, batches({"x": (8,)}), [], None), dynamic.quantize):
        with pytest.raises(ConversionError, match="int8 is for"):
            make(prepare(source, tmp_path / "p.onnx"), tmp_path / "t.onnx")


@pytest.mark.parametrize(
    ("save", "sizes"), [(save_residual, IMAGE), (save_two_inputs, TWO), (save_lstm, {"x": (5, 8)})]
)
def test_dynamic_needs_no_samples(tmp_path, save, sizes, capfd):
    source, target = save(tmp_path / "net.onnx"), tmp_path / "dynamic.onnx"
    dynamic.quantize(prepare(source, tmp_path / "p.onnx"), target)
    for rows in (1, 7):
        fresh = samples(sizes, rows, seed=9)
        assert sqnr(run(source, fresh), run(target, fresh)) > 25
    stored = [t for t in onnx.load(target).graph.initializer if np.prod(t.dims) > 100]
    assert {t.data_type for t in stored} <= {TensorProto.INT8, TensorProto.UINT8}
    assert capfd.readouterr().out == ""


def test_dynamic_keeps_what_it_is_told_to(tmp_path):
    source = save_residual(tmp_path / "net.onnx")
    dynamic.quantize(prepare(source, tmp_path / "p.onnx", ["stem", "head"]), tmp_path / "d.onnx")
    stored = {t.name for t in onnx.load(tmp_path / "d.onnx").graph.initializer if t.data_type == TensorProto.FLOAT}
    assert {"w1", "w4"} <= stored
    assert not {"w2", "w3"} & stored


@pytest.mark.parametrize(
    ("save", "sizes"), [(save_residual, IMAGE), (save_two_inputs, TWO), (save_lstm, {"x": (5, 8)})]
)
def test_float16_computes_in_float16_behind_a_float32_interface(tmp_path, save, sizes):
    source, target = save(tmp_path / "net.onnx"), tmp_path / "f16.onnx"
    narrow.compute_in("float16", prepare(source, tmp_path / "p.onnx"), target)
    onnx.checker.check_model(str(target), full_check=True)
    fresh = samples(sizes, 7, seed=9)
    assert 50 < sqnr(run(source, fresh), run(target, fresh)) < 90
    assert not [t.name for t in onnx.load(target).graph.initializer if t.data_type == TensorProto.FLOAT]


def test_float16_leaves_out_what_it_is_told_to(tmp_path):
    source, target = save_residual(tmp_path / "net.onnx"), tmp_path / "f16.onnx"
    narrow.compute_in("float16", prepare(source, tmp_path / "p.onnx", ["pointwise"]), target)
    onnx.checker.check_model(str(target), full_check=True)
    stored = {t.name for t in onnx.load(target).graph.initializer if t.data_type == TensorProto.FLOAT}
    assert stored == {"w3", "b3"}


def test_float16_keeps_huge_masks_finite_and_fixed_floats_fixed(tmp_path):

    net = Net({"x": (2, 4, 4)})
    masked = net.add("Add", ["x", net.constant("mask", [[[-1e9]]])], "masked")
    sizes = net.constant("sizes", [1, 1, 2, 2])
    source = net.save(tmp_path / "net.onnx", net.add("Resize", [masked, "", sizes], "resize"), [2, 8, 8])
    narrow.compute_in("float16", prepare(source, tmp_path / "p.onnx"), tmp_path / "f16.onnx")
    onnx.checker.check_model(str(tmp_path / "f16.onnx"), full_check=True)
    assert np.isfinite(run(tmp_path / "f16.onnx", samples({"x": (2, 4, 4)}, 2))).all()


def test_bfloat16_is_stored_and_computed_in_float32(tmp_path):
    source, target = save_residual(tmp_path / "net.onnx"), tmp_path / "bf16.onnx"
    narrow.store_in("bfloat16", prepare(source, tmp_path / "p.onnx", ["head"]), target)
    fresh = samples(IMAGE, 7, seed=9)
    assert 35 < sqnr(run(source, fresh), run(target, fresh)) < 70
    kinds = {t.name: t.data_type for t in onnx.load(target).graph.initializer}
    assert kinds["w4"] == TensorProto.FLOAT
    assert kinds["w1_bfloat16"] == TensorProto.BFLOAT16


def test_narrow_graphs_have_no_control_flow(tmp_path):
    from onnx import helper

    net = Net({"x": (4,)})
    branches = []
    for name in ("then", "else"):
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, ["batch", 4])
        kind = "Relu" if name == "then" else "Exp"
        branches.append(helper.make_graph([helper.make_node(kind, ["x"], [f"{name}_y"])], name, [], [out]))
    condition = net.constant("condition", True, bool)
    net.nodes.append(helper.make_node("If", [condition], ["z"], "if", then_branch=branches[0], else_branch=branches[1]))
    source = net.save(tmp_path / "net.onnx", "z", [4])
    with pytest.raises(UnsupportedError, match="control flow"):
        narrow.compute_in("float16", prepare(source, tmp_path / "p.onnx"), tmp_path / "f16.onnx")


def test_batch_normalisation_is_folded_and_the_layer_keeps_its_name(tmp_path):

    net = Net({"x": (3, 8, 8)})
    conv = net.add("Conv", ["x", net.weight("w", 4, 3, 3, 3)], "conv")
    parameters = [net.constant(n, net.rng.uniform(0.5, 2, 4)) for n in ("scale", "bias", "mean", "var")]
    source = net.save(tmp_path / "net.onnx", net.add("BatchNormalization", [conv, *parameters], "norm"), [4, 6, 6])
    prepared = prepare(source, tmp_path / "p.onnx", ["conv"])
    assert [n.op_type for n in onnx.load(prepared.path).graph.node] == ["Conv", "Identity"]
    assert prepared.kept == ("conv",)
    fresh = samples({"x": (3, 8, 8)}, 3)
    assert sqnr(run(source, fresh), run(prepared.path, fresh)) > 100


def test_old_opsets_are_brought_up_to_date(tmp_path):

    net = Net({"x": (8,)})
    source = net.save(
        tmp_path / "net.onnx", net.add("MatMul", ["x", net.weight("w", 8, 8, fan_in=8)], "product"), [8], opset=11
    )
    int8(source, {"x": (8,)}, tmp_path / "int8.onnx")
    fresh = samples({"x": (8,)}, 3)
    assert sqnr(run(source, fresh), run(tmp_path / "int8.onnx", fresh)) > 25


def test_a_search_by_whole_numbers(tmp_path):
    net = Net({"x": (16,)})
    hidden = net.add("Relu", [net.add("MatMul", ["x", net.weight("w1", 16, 16, fan_in=16)], "first")], "relu")
    scores = net.add("MatMul", [hidden, net.weight("w2", 16, 3, fan_in=16)], "second")
    best = net.add("ArgMax", [scores], "best", axis=1, keepdims=0)
    source = net.save(tmp_path / "net.onnx", best, [])
    model = onnx.load(source)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, source)
    made = int8(source, {"x": (16,)}, tmp_path / "int8.onnx", until=5.0)
    assert made.reached
    assert made.after_db >= 5
