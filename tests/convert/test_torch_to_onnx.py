import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch_samples import Branching, Net, TwoInputs, arrays, check_onnx, run_onnx

from xport.convert import onnx_interface, torch_to_onnx, torch_to_onnx_legacy
from xport.convert.source import open_source
from xport.convert.torch_signature import derive_signature
from xport.errors import ConversionError
from xport.signature import Signature, TensorSpec

NEW, OLD = torch_to_onnx.convert, torch_to_onnx_legacy.convert
both = pytest.mark.parametrize("step", [NEW, OLD])


class Flexible(nn.Module):
    """Takes an input that it does not use, and returns one as it is and one twice."""

    def forward(self, x, unused, y):
        z = x + y
        return {"z": z, "again": z, "same": y, "twice": z.shape[0] * torch.ones_like(z)}


@both
def test_dict_outputs_and_integer_inputs(tmp_path, step):
    source = open_source(TwoInputs(), inputs=["scale:float32[batch]", "ids:int64[batch,seq]"])
    check_onnx(source, step, tmp_path / "m.onnx", {"batch": 1, "seq": 4}, {"batch": 5, "seq": 2})


@both
def test_unused_repeated_and_passed_through(tmp_path, step):
    specs = ["x:float32[n,3]", "unused:int64[m]", "y:float32[n,3]"]
    source = open_source(Flexible(), inputs=specs)
    signature = check_onnx(source, step, tmp_path / "m.onnx", {"n": 2, "m": 1}, {"n": 4, "m": 3})
    assert [spec.name for spec in signature.outputs] == ["z", "again", "same", "twice"]
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"batch_first": True, "bidirectional": True, "num_layers": 2}])
def test_stock_recurrent_nets_with_dynamic_batch_and_sequence(tmp_path, kind, options):
    torch.manual_seed(0)
    first, second = ("batch", "seq") if options else ("seq", "batch")
    source = open_source(kind(3, 4, **options), inputs=[f"input:float32[{first},{second},3]"])
    settings = ({"batch": 1, "seq": 1}, {"batch": 5, "seq": 9}, {"batch": 3, "seq": 2})
    check_onnx(source, OLD, tmp_path / "m.onnx", *settings)


def test_stock_lstm_with_dynamic_batch(tmp_path):
    source = open_source(nn.LSTM(3, 4, batch_first=True), inputs=["input:float32[batch,6,3]"])
    check_onnx(source, NEW, tmp_path / "m.onnx", {"batch": 1}, {"batch": 5})


def test_newer_exporter_refuses_what_it_would_fix(tmp_path):
    source = open_source(nn.LSTM(3, 4), inputs=["input:float32[seq,batch,3]"])
    with pytest.raises(ConversionError, match=r"torch\.export failed"):
        NEW(source, tmp_path / "m.onnx", derive_signature(source), {})
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("kind", ["script", "trace"])
def test_torchscript(tmp_path, kind):
    module = torch.jit.script(Net()) if kind == "script" else torch.jit.trace(Net(), torch.ones(2, 4))
    module.save(str(tmp_path / "m.pt"))
    source = open_source(tmp_path / "m.pt", inputs=["x:float32[batch,4]"])
    check_onnx(source, OLD, tmp_path / "m.onnx", {"batch": 1}, {"batch": 5})
    if kind == "trace":
        check_onnx(source, NEW, tmp_path / "n.onnx", {"batch": 1}, {"batch": 5})


def test_torchscript_with_attention(tmp_path):
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)

    torch.jit.trace(Attention(), torch.ones(2, 3, 5, 4)).save(str(tmp_path / "m.pt"))
    source = open_source(tmp_path / "m.pt", inputs=["x:float32[batch,3,seq,4]"])
    check_onnx(source, NEW, tmp_path / "m.onnx", {"batch": 1, "seq": 2}, {"batch": 4, "seq": 6})


def test_torchscript_whose_sizes_torch_export_fixes(tmp_path):
    torch.jit.trace(nn.GRU(3, 4), torch.ones(5, 2, 3)).save(str(tmp_path / "m.pt"))
    source = open_source(tmp_path / "m.pt", inputs=["input:float32[seq,batch,3]"])
    with pytest.raises(ConversionError, match="fixed dimension 0 of 'input'"):
        NEW(source, tmp_path / "m.onnx", derive_signature(source), {})


def test_scripted_control_flow_stays(tmp_path):
    torch.jit.script(Branching()).save(str(tmp_path / "m.pt"))
    source = open_source(tmp_path / "m.pt", inputs=["x:float32[n,3]"])
    signature = check_onnx(source, OLD, tmp_path / "m.onnx", {"n": 1}, {"n": 5})
    x = arrays(signature, n=4)["x"]
    for values in (x, abs(x), -abs(x)):
        want = Branching()(torch.from_numpy(values)).numpy()
        assert abs(run_onnx(tmp_path / "m.onnx", {"x": values})["output"] - want).max() < 1e-6


def test_exported_program(tmp_path):
    n, seq = torch.export.Dim("n"), torch.export.Dim("seq")
    example = (torch.zeros(2, 5, dtype=torch.int64), torch.ones(2))
    program = torch.export.export(TwoInputs(), example, dynamic_shapes={"ids": {0: n, 1: seq}, "scale": {0: n}})
    torch.export.save(program, tmp_path / "m.pt2")
    source = open_source(tmp_path / "m.pt2", inputs=["ids:int64[n,seq]", "scale:float32[n]"])
    check_onnx(source, NEW, tmp_path / "m.onnx", {"n": 1, "seq": 4}, {"n": 5, "seq": 2})


@both
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions(tmp_path, step, dtype):
    source = open_source(Net().to(getattr(torch, dtype)), inputs=[f"x:{dtype}[batch,4]"])
    check_onnx(source, step, tmp_path / "m.onnx", {"batch": 1}, {"batch": 5}, tolerance=2e-3)


def test_bfloat16(tmp_path):
    source = open_source(Net().bfloat16(), inputs=["x:bfloat16[batch,4]"])
    NEW(source, tmp_path / "m.onnx", derive_signature(source), {})
    graph = ir.load(tmp_path / "m.onnx").graph
    assert [value.dtype for value in (*graph.inputs, *graph.outputs)] == [ir.DataType.BFLOAT16] * 2


@both
def test_data_dependent_sizes(tmp_path, step):
    class Positive(nn.Module):
        def forward(self, x):
            return torch.nonzero(x > 0)

    source = open_source(Positive(), inputs=["x:float32[n,3]"])
    signature = check_onnx(source, step, tmp_path / "m.onnx", {"n": 2}, {"n": 6})
    assert signature.outputs[0].shape == ("output_dim0", 2)


def test_module_paths_and_weight_names_are_kept(tmp_path):
    source = open_source(nn.Sequential(Net(), nn.Linear(3, 2)), inputs=["input:float32[batch,4]"])
    check_onnx(source, NEW, tmp_path / "m.onnx", {"batch": 3})
    graph = ir.load(tmp_path / "m.onnx").graph
    assert {"0.linear.weight", "1.weight"} <= set(graph.initializers)
    scopes = [node.metadata_props.get("pkg.torch.onnx.name_scopes", "") for node in graph]
    assert any("0.linear" in scope for scope in scopes)


def test_opset_can_be_chosen(tmp_path):
    source = open_source(Net(), inputs=["x:float32[batch,4]"])
    signature = derive_signature(source)
    for step, opset in ((NEW, 18), (NEW, 20), (OLD, 13)):
        step(source, tmp_path / "m.onnx", signature, {"opset": opset})
        assert ir.load(tmp_path / "m.onnx").opset_imports[""] == opset
    with pytest.raises(ConversionError, match="opset 20 at most"):
        OLD(source, tmp_path / "m.onnx", signature, {"opset": 23})


def test_nothing_is_said(tmp_path, capfd):
    source = open_source(Net(), inputs=["x:float32[batch,4]"])
    signature = derive_signature(source)
    for step in (NEW, OLD):
        step(source, tmp_path / "m.onnx", signature, {})
    assert capfd.readouterr() == ("", "")


def test_nothing_is_said_on_failure(tmp_path, capfd):
    source = open_source("zoo:detector@small")
    with pytest.raises(ConversionError, match="xport::nms"):
        OLD(source, tmp_path / "m.onnx", derive_signature(source), {})
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_transformer_with_dynamic_batch_and_sequence(tmp_path):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    source = open_source(nn.TransformerEncoder(layer, 2), inputs=["src:float32[batch,seq,8]"])
    check_onnx(source, NEW, tmp_path / "m.onnx", {"batch": 1, "seq": 3}, {"batch": 4, "seq": 9})


def test_large_weights_go_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_interface, "EXTERNAL_DATA_BYTES", 1000)
    source = open_source(nn.Linear(30, 30), inputs=["input:float32[batch,30]"])
    for step, name in ((NEW, "new.onnx"), (OLD, "old.onnx")):
        check_onnx(source, step, tmp_path / name, {"batch": 2})
    assert {path.name for path in tmp_path.iterdir()} == {*("new.onnx", "new.onnx.data", "old.onnx", "old.onnx.data")}


@pytest.mark.parametrize("name", ["detector", "seq2seq", "unet", "bert"])
def test_zoo(tmp_path, name):
    step = OLD if name == "seq2seq" else NEW
    sizes = {"batch": 3, "source": 4, "target": 9, "sequence": 6, "height": 64, "width": 32}
    check_onnx(open_source(f"zoo:{name}@small"), step, tmp_path / "m.onnx", sizes, tolerance=1e-4)


def _graph(inputs, outputs, nodes):
    return ir.Model(ir.Graph(inputs, outputs, nodes=nodes, opset_imports={"": 20}), ir_version=10)


def _relu(shape, out_shape):
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
    node = ir.node("Relu", [x])
    node.outputs[0].name = "y"
    node.outputs[0].type, node.outputs[0].shape = x.type, ir.Shape(out_shape)
    return _graph([x], [node.outputs[0]], [node])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([2, 4], "fixed dimension 0 of 'x' at 2, expected the dynamic size 'batch'"),
        (["s0", 5], "dimension 1 of 'x' the size 5, expected 4"),
        (["s0", 4, 1], "rank 3, expected 2"),
    ],
)
def test_an_exporters_mistakes_are_not_papered_over(shape, message):
    x, y = (TensorSpec(name, "float32", ("batch", 4)) for name in ("x", "y"))
    with pytest.raises(ConversionError, match=message):
        onnx_interface.align_interface(_relu(shape, shape), Signature((x,), (y,)))


def test_names_are_exchanged_and_symbols_renamed():
    model = _relu(["s77", 4], ["s77", 4])
    signature = Signature((TensorSpec("y", "float32", ("b", 4)),), (TensorSpec("x", "float32", ("b", 4)),))
    onnx_interface.align_interface(model, signature)
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["y", "x"]
    assert [str(value.shape[0]) for value in (*model.graph.inputs, *model.graph.outputs)] == ["b", "b"]


class Bags(nn.Module):
    def __init__(self, offsets: bool = False, **options: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.offsets = offsets
        self.bag = nn.EmbeddingBag(19, 3, **options)

    def forward(self, ids, weights=None):
        offsets = torch.tensor([0, 0, 2, 5, 5]) if self.offsets else None  # the first and the last but one are empty
        return self.bag(ids, offsets, weights)


BAGS = {
    "sum": ({"mode": "sum"}, ["ids:int64[batch,n]"]),
    "mean without a row": ({"mode": "mean", "padding_idx": 1}, ["ids:int64[batch,4]"]),
    "max without a row": ({"mode": "max", "padding_idx": 0}, ["ids:int64[batch,n]"]),
    "weighted": ({"mode": "sum"}, ["ids:int64[batch,n]", "weights:float32[batch,n]"]),
    "offsets": ({"mode": "max", "offsets": True}, ["ids:int64[7]"]),
    "offsets, mean, the last marks the end": (
        {"mode": "mean", "offsets": True, "include_last_offset": True},
        ["ids:int64[5]"],
    ),
}


@pytest.mark.parametrize("case", BAGS)
def test_bags_of_embeddings(tmp_path, case):
    options, inputs = BAGS[case]
    source = open_source(Bags(**options).eval(), inputs=inputs)
    check_onnx(source, NEW, tmp_path / "m.onnx", {"batch": 1, "n": 1}, {"batch": 5, "n": 6})
    assert not any(node.op_type in ("Loop", "SequenceEmpty") for node in onnx.load(tmp_path / "m.onnx").graph.node)


class Distances(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x, y):
        return torch.cdist(x, y, self.p)


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 2.0, float("inf")])
def test_distances(tmp_path, p):
    source = open_source(Distances(p), inputs=["x:float32[batch,n,3]", "y:float32[batch,m,3]"])
    check_onnx(source, NEW, tmp_path / "m.onnx", {"batch": 1, "n": 1, "m": 3}, {"batch": 2, "n": 4, "m": 2})


class Translation(nn.Module):
    """PyTorch's own Transformer, with masks."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(20, 8)
        self.net = nn.Transformer(8, 2, 1, 2, 16, batch_first=True, norm_first=norm_first)

    def forward(self, source, target):
        later = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        hidden = source == 0
        args = {"tgt_mask": later, "src_key_padding_mask": hidden, "memory_key_padding_mask": hidden}
        return self.net(self.words(source), self.words(target), **args)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm_first", [False, True])
def test_stock_transformer_with_masks(tmp_path, norm_first):
    inputs = ["source:int64[batch,s]", "target:int64[batch,t]"]
    source = open_source(Translation(norm_first).eval(), inputs=inputs)
    check_onnx(source, NEW, tmp_path / "m.onnx", {"batch": 1, "s": 2, "t": 1}, {"batch": 3, "s": 5, "t": 6})
