"""Packed sequences keep their lengths in ONNX: the padding takes no part, whatever it holds."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch_samples import arrays, run_onnx, same

from xport.convert import onnx_to_exported, torch_packed, torch_to_onnx
from xport.convert.source import open_source
from xport.convert.torch_signature import call_module, derive_signature

INPUTS = ("x:float32[batch,time,4]", "lengths:int64[batch]")


class Tagger(nn.Module):
    def __init__(self, kind: str, **options: object) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.total = options.pop("total", False)
        self.padding = options.pop("padding", 0.0)
        self.layers = getattr(nn, kind)(4, 3, batch_first=True, **options)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, state = self.layers(packed)
        y, n = pad_packed_sequence(y, True, self.padding, x.shape[1] if self.total else None)
        return y, n, state


def converted(module, path, inputs=INPUTS):
    source = open_source(module.eval(), inputs=inputs)
    signature = derive_signature(source)
    torch_to_onnx.convert(source, path, signature, {})
    return signature


CASES = {
    "LSTM": ("LSTM", {}),
    "LSTM both ways, two layers": ("LSTM", {"bidirectional": True, "num_layers": 2, "dropout": 0.3}),
    "GRU, own padding": ("GRU", {"padding": -1.5, "bidirectional": True}),
    "GRU without biases, whole length": ("GRU", {"bias": False, "total": True}),
    "RNN": ("RNN", {"nonlinearity": "relu", "total": True}),
    "LSTM with projections, both ways, two layers": (
        "LSTM",
        {"proj_size": 2, "bidirectional": True, "num_layers": 2, "total": True},
    ),
    "LSTM with projections without biases": ("LSTM", {"proj_size": 1, "bias": False}),
    "RNN tanh": ("RNN", {"nonlinearity": "tanh", "bidirectional": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_packed_layers(case, tmp_path):
    kind, options = CASES[case]
    module = Tagger(kind, **options)
    signature = converted(module, tmp_path / "m.onnx")
    time = "time" if options.get("total") else "output_0_dim1"
    width = options.get("proj_size", 3) * (2 if options.get("bidirectional") else 1)
    assert signature.outputs[0].shape == ("batch", time, width)
    for lengths in ([5, 2, 4], [1], [3, 7, 7, 1]):
        inputs = arrays(signature, batch=len(lengths), time=7)
        inputs["lengths"] = np.array(lengths)
        inputs["x"][0, lengths[0] :] = np.nan  # the padding takes no part
        same(call_module(module, signature, inputs), run_onnx(tmp_path / "m.onnx", inputs), 1e-6)


class Pooled(nn.Module):
    """Sorted by the caller, given a first state, with the packed rows changed on the way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layers, self.head = nn.LSTM(4, 3), nn.Linear(3, 2)

    def forward(self, x, lengths, h, c):
        packed = pack_padded_sequence(x.transpose(0, 1), lengths)
        y, (h, c) = self.layers(packed, (h, c))
        y = y._replace(data=torch.sigmoid(self.head(y.data)))
        return pad_packed_sequence(y, total_length=x.shape[1])[0], h, c


def test_packed_rows_may_be_changed(tmp_path):
    module = Pooled()
    states = ("h:float32[1,batch,3]", "c:float32[1,batch,3]")
    signature = converted(module, tmp_path / "m.onnx", (*INPUTS, *states))
    for lengths in ([6, 6, 2], [4, 1]):
        inputs = arrays(signature, batch=len(lengths), time=6)
        inputs["lengths"] = np.array(lengths)
        same(call_module(module, signature, inputs), run_onnx(tmp_path / "m.onnx", inputs), 1e-6)


def test_a_program_made_of_it_keeps_the_shared_batch(tmp_path):
    module = Tagger("LSTM", total=True)
    signature = converted(module, tmp_path / "m.onnx")
    program = onnx_to_exported.export(open_source(tmp_path / "m.onnx"), signature)
    inputs = arrays(signature, batch=4, time=6)
    inputs["lengths"] = np.array([2, 6, 1, 6])
    want = call_module(module, signature, inputs)
    have = program.module()(*map(torch.from_numpy, inputs.values()))
    same(want, dict(zip(want, (t.detach().numpy() for t in have), strict=True)), 1e-6)
    x, lengths = (node.meta["val"] for node in program.graph.nodes if node.name in ("x", "lengths"))
    assert str(x.shape[0]) == str(lengths.shape[0])


class Projected(nn.Module):
    """Whole sequences, and first states of the caller's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.LSTM(4, 5, num_layers=2, proj_size=3, bidirectional=True, batch_first=True)

    def forward(self, x, hidden, cell):
        y, (hidden, cell) = self.layers(x, (hidden, cell))
        return y, hidden, cell


def test_projections_of_whole_sequences_begin_with_the_states_given(tmp_path):
    module = Projected()
    states = ("hidden:float32[4,batch,3]", "cell:float32[4,batch,5]")
    signature = converted(module, tmp_path / "m.onnx", ("x:float32[batch,time,4]", *states))
    assert signature.outputs[0].shape == ("batch", "time", 6)
    for batch, time in ((1, 6), (5, 2)):
        inputs = arrays(signature, batch=batch, time=time)
        same(call_module(module, signature, inputs), run_onnx(tmp_path / "m.onnx", inputs), 1e-6)


def test_the_operator_is_what_pytorch_computes():
    torch.manual_seed(3)
    for kind, mode in (("LSTM", "LSTM"), ("GRU", "GRU"), ("RNN", "RNN_TANH")):
        layer = getattr(nn, kind)(4, 3)
        x, lengths, states = torch.randn(5, 2, 4), torch.tensor([5, 3]), [torch.randn(2, 3) for _ in range(2)]
        hx = [s.unsqueeze(0) for s in states]
        want, last = layer(pack_padded_sequence(x, lengths), tuple(hx) if kind == "LSTM" else hx[0])
        weights = [w.detach() for w in layer.all_weights[0]]
        y, h, c = torch_packed.recurrent(x, lengths, states[: 2 if kind == "LSTM" else 1], weights, mode, False)
        torch.testing.assert_close(y, pad_packed_sequence(want)[0].detach())
        torch.testing.assert_close(h, (last[0] if kind == "LSTM" else last)[0].detach())
        if kind == "LSTM":
            torch.testing.assert_close(c, last[1][0].detach())
