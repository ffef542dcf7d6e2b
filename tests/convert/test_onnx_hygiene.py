import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_onnx import save_tiny

import xport
from xport.convert import expectation, onnx_interface, onnx_opset
from xport.convert.onnx_hygiene import finish
from xport.convert.onnx_signature import read_signature
from xport.errors import ConversionError, UsageError

RNG = np.random.default_rng(0)


def save(path, nodes, weights=(), *, opset=17, shape=("batch", 3, 8, 8), outputs=("y",), functions=(), domains=()):
    """A model with everything that may get lost: descriptions, metadata, names of sizes and of values in between."""
    graph = helper.make_graph(
        nodes,
        "the graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in dict(weights).items()],
        doc_string="what the graph is",
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=9)
    model = onnx.shape_inference.infer_shapes(model)
    model.producer_name, model.producer_version, model.domain, model.model_version = "maker", "4", "org.maker", 7
    model.doc_string = "what the model is"
    helper.set_model_props(model, {"labels": "cat,dog"})
    onnx.save(model, path)
    return path


def conv_net(path, opset=17):
    weights = {
        "w": RNG.standard_normal((40, 3, 3, 3)).astype(np.float32),
        "scale": RNG.uniform(0.5, 2, 40).astype(np.float32),
        "bias": RNG.standard_normal(40).astype(np.float32),
        "mean": RNG.standard_normal(40).astype(np.float32),
        "var": RNG.uniform(0.5, 2, 40).astype(np.float32),
        "one": np.float32(1).reshape(()),
        "axes": np.array([2, 3]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", doc_string="a convolution", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"], name="norm"),
        helper.make_node("Identity", ["n"], ["i"]),
        helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Mul", ["i", "two"], ["m"]),
        helper.make_node("ReduceSum", ["m", "axes"], ["s"], keepdims=1, name="sum"),
        helper.make_node("Squeeze", ["s", "axes"], ["q"]),
        helper.make_node("Softmax", ["q"], ["y"], axis=-1),
    ]
    return save(path, nodes, weights, opset=opset)


def answers(path, batch=3):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((batch, 3, 8, 8)).astype(np.float32)
    return session.run(None, {"x": x})


def opset(path):
    return {entry.domain: entry.version for entry in onnx.load(path).opset_import}[""]


def run(path, target, **options):
    assert finish(path, target, read_signature(path), options)
    onnx.checker.check_model(str(target), full_check=True)
    return onnx.load(target)


def assert_same_card(before, after):
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        assert getattr(after, field) == getattr(before, field), field
    assert {p.key: p.value for p in after.metadata_props} == {p.key: p.value for p in before.metadata_props}
    assert (after.graph.name, after.graph.doc_string) == (before.graph.name, before.graph.doc_string)
    for side in ("input", "output"):
        was = [(v.name, str(v.type)) for v in getattr(before.graph, side)]
        assert [(v.name, str(v.type)) for v in getattr(after.graph, side)] == was


@pytest.mark.parametrize("wanted", [13, 15, 18, 21, 23])
def test_up_and_down_with_the_same_numbers_and_card(tmp_path, wanted):
    source = conv_net(tmp_path / "m.onnx")
    made = run(source, tmp_path / "out.onnx", opset=wanted)
    assert opset(tmp_path / "out.onnx") == wanted
    np.testing.assert_array_equal(answers(tmp_path / "out.onnx"), answers(source))
    before = onnx.load(source)
    assert_same_card(before, made)
    assert {v.name: str(v.type) for v in made.graph.value_info}.items() >= {
        v.name: str(v.type) for v in before.graph.value_info if v.name in {o for n in made.graph.node for o in n.output}
    }.items()
    assert next(n for n in made.graph.node if n.op_type == "Conv").doc_string == "a convolution"


def test_the_converter_never_sees_large_weights(tmp_path, monkeypatch):
    source = conv_net(tmp_path / "m.onnx")
    sizes, original = [], onnx.version_converter.convert_version

    def spy(model, version):
        sizes.append(model.ByteSize())
        return original(model, version)

    monkeypatch.setattr(onnx.version_converter, "convert_version", spy)
    made = run(source, tmp_path / "out.onnx", opset=14)
    assert sizes[0] < 4000 < source.stat().st_size
    assert [i.name for i in made.graph.initializer if i.name == "w"] == ["w"]
    assert [i.name for i in made.graph.input] == ["x"]


def test_functions_are_written_out(tmp_path):
    body = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [helper.make_node("Twice", ["x"], ["y"], domain="mine")]
    source = save(tmp_path / "m.onnx", nodes, functions=[body], domains=["mine"])
    made = run(source, tmp_path / "out.onnx", opset=18)
    assert [n.op_type for n in made.graph.node] == ["Add"]
    np.testing.assert_array_equal(answers(tmp_path / "out.onnx"), answers(source))


@pytest.mark.parametrize(
    ("op", "opset_before", "opset_after"),
    [("Gelu", 20, 17), ("LayerNormalization", 17, 16)],
)
def test_what_cannot_be_said_in_an_older_opset_is_refused_by_name(tmp_path, op, opset_before, opset_after):
    nodes = [helper.make_node(op, ["x", "s"] if op != "Gelu" else ["x"], ["y"], name="the_node")]
    source = save(tmp_path / "m.onnx", nodes, {"s": np.ones(8, np.float32)}, opset=opset_before)
    with pytest.raises(ConversionError, match=rf"{op} \(the_node\) does not exist in opset {opset_after}") as caught:
        finish(source, tmp_path / "out.onnx", read_signature(source), {"opset": opset_after})
    assert caught.value.fix
    assert not (tmp_path / "out.onnx").exists()


def test_branches_go_down_too(tmp_path):
    result = helper.make_tensor_value_info("t", TensorProto.FLOAT, None)
    branches = [
        helper.make_graph([helper.make_node(op, ["x"], ["t"])], op, [], [result]) for op in ("Identity", "Softplus")
    ]
    condition = helper.make_node("Greater", ["total", "zero"], ["yes"])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        condition,
        helper.make_node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    source = save(tmp_path / "m.onnx", nodes, {"zero": np.float32(0).reshape(())}, opset=21)
    made = run(source, tmp_path / "out.onnx", opset=12)
    assert [n.op_type for n in made.graph.node] == ["ReduceSum", "Greater", "If"]
    assert {entry.domain for entry in made.opset_import} == {""}
    for batch in (1, 3):
        np.testing.assert_array_equal(answers(tmp_path / "out.onnx", batch), answers(source, batch))


def test_attributes_that_say_what_an_older_version_does_anyway_are_left_out(tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], name="mean", keepdims=1, noop_with_empty_axes=0),
        helper.make_node("ReduceMax", ["m", "axes"], ["y"], name="max", noop_with_empty_axes=0),
    ]
    source = save(tmp_path / "m.onnx", nodes, {"axes": np.array([2])}, opset=20)
    made = run(source, tmp_path / "out.onnx", opset=17)
    assert [[a.name for a in n.attribute if a.name.startswith("noop")] for n in made.graph.node] == [[], []]
    np.testing.assert_allclose(answers(tmp_path / "out.onnx"), answers(source), rtol=1e-6)


def test_an_attribute_that_an_older_version_cannot_say_is_refused(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], name="shape", start=1),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT),
    ]
    source = save(tmp_path / "m.onnx", nodes, opset=15)
    with pytest.raises(ConversionError, match=r"Shape \(shape\) has the attributes start"):
        finish(source, tmp_path / "out.onnx", read_signature(source), {"opset": 13})


def test_an_operator_that_the_converter_leaves_broken_is_refused(tmp_path, monkeypatch):
    source = conv_net(tmp_path / "m.onnx", opset=13)

    def lazy(model, version):
        model.opset_import[0].version = version
        return model

    monkeypatch.setattr(onnx_opset.onnx.version_converter, "convert_version", lazy)
    with pytest.raises(ConversionError, match=r"ReduceSum \(sum\) has 2 inputs, which it does not take in opset 11"):
        finish(source, tmp_path / "out.onnx", read_signature(source), {"opset": 11})


def test_there_is_no_such_opset(tmp_path):
    source = save_tiny(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="There is no opset 99 here"):
        finish(source, tmp_path / "out.onnx", read_signature(source), {"opset": 99})


def test_nothing_to_do_writes_nothing(tmp_path):
    source = save_tiny(tmp_path / "m.onnx")
    assert not finish(source, tmp_path / "out.onnx", read_signature(source), {"opset": 17})
    assert not (tmp_path / "out.onnx").exists()


def test_optimizing_makes_the_graph_smaller_and_changes_nothing_else(tmp_path):
    source = conv_net(tmp_path / "m.onnx")
    made = run(source, tmp_path / "out.onnx", optimize=True)
    before = onnx.load(source)
    assert_same_card(before, made)
    kinds = [node.op_type for node in made.graph.node]
    assert len(kinds) < len(before.graph.node)
    assert not {"Identity", "Add", "BatchNormalization"} & set(kinds)
    np.testing.assert_allclose(answers(tmp_path / "out.onnx"), answers(source), rtol=1e-4, atol=1e-6)
    assert opset(tmp_path / "out.onnx") == 17


def test_a_large_result_keeps_its_weights_beside_it(tmp_path, monkeypatch):
    source = conv_net(tmp_path / "m.onnx")
    monkeypatch.setattr(onnx_interface, "EXTERNAL_DATA_BYTES", 1000)
    (tmp_path / "out").mkdir()
    run(source, tmp_path / "out" / "o.onnx", opset=18)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["o.onnx", "o.onnx.data"]
    np.testing.assert_array_equal(answers(tmp_path / "out" / "o.onnx"), answers(source))


def test_a_model_with_external_data_comes_back_whole(tmp_path):
    from onnx.external_data_helper import convert_model_to_external_data

    source = conv_net(tmp_path / "m.onnx")
    expected = answers(source)
    model = onnx.load(source)
    convert_model_to_external_data(model, location="w.bin", size_threshold=0)
    onnx.save(model, source)
    run(source, tmp_path / "out.onnx", opset=18, optimize=True)
    (tmp_path / "w.bin").unlink()
    np.testing.assert_allclose(answers(tmp_path / "out.onnx"), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("opset_wanted", "optimize"), [(13, False), (18, True)])
def test_the_gate_proves_what_comes_out(tmp_path, monkeypatch, opset_wanted, optimize):
    monkeypatch.setattr(expectation, "reference64", lambda *_, **__: None)
    source = conv_net(tmp_path / "m.onnx")
    made = xport.convert(
        source, to="onnx", output=tmp_path / "out.onnx", options={"opset": opset_wanted, "optimize": optimize}
    )
    assert opset(made.path) == opset_wanted
    assert made.proof.verified
    assert made.proof.options["opset"] == opset_wanted
    assert {p.key for p in onnx.load(made.path).metadata_props} > {"labels"}
    assert [str(spec) for spec in made.signature.inputs] == ["x:float32[batch,3,8,8]"]


def test_a_wrong_version_is_caught_by_the_gate(tmp_path, monkeypatch):
    """Softmax of opset 12 takes all axes from the given one; a converter that forgets it changes numbers."""
    monkeypatch.setattr(expectation, "reference64", lambda *_, **__: None)
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=1)]
    source = save(tmp_path / "m.onnx", nodes, opset=13)
    try:
        made = xport.convert(source, to="onnx", output=tmp_path / "out.onnx", options={"opset": 12})
    except (ConversionError, xport.ParityError):
        assert not (tmp_path / "out.onnx").exists()
    else:
        np.testing.assert_allclose(answers(made.path), answers(source), rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "options"),
    [("tflite", {"opset": 17}), ("savedmodel", {"optimize": True}), ("onnx", {"select_tf_ops": True})],
)
def test_options_that_mean_nothing_to_the_target_are_refused(tmp_path, target, options):
    source = save_tiny(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=f"means nothing to {target}") as caught:
        xport.convert(source, to=target, output=tmp_path / "out", options=options)
    assert "--to" in caught.value.fix
    assert not (tmp_path / "out").exists()
