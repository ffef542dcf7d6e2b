import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn
from torch_samples import Branching, Net, Pair, TwoInputs

from xport.convert.source import open_source
from xport.convert.torch_loading import load_module
from xport.convert.torch_signature import call_module, derive_signature
from xport.convert.torch_values import flatten_outputs, to_array, to_tensor
from xport.errors import UsageError, XportWarning


def shown(source_or_signature, **options):
    signature = derive_signature(open_source(source_or_signature, **options))
    return " ".join(map(str, signature.inputs)) + " -> " + " ".join(map(str, signature.outputs))


class Outputs(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_user_given_inputs():
    assert shown(Net(), inputs=["x:float32[n,4]"]) == "x:float32[n,4] -> output:float32[n,3]"


def test_example_inputs_make_the_batch_dynamic():
    expected = "x:float32[batch,4] -> output:float32[batch,3]"
    assert shown(Net(), example_inputs=torch.ones(2, 4)) == expected
    assert shown(Net(), example_inputs=(np.ones((1, 4), np.float32),)) == expected
    assert shown(Net(), example_inputs={"x": torch.ones(5, 4)}) == expected


def test_examples_of_different_first_sizes_are_static():
    class Product(nn.Module):
        def forward(self, a, b):
            return a @ b

    assert shown(Product(), example_inputs=(torch.ones(2, 3), torch.ones(3, 5))) == (
        "a:float32[2,3] b:float32[3,5] -> output:float32[2,5]"
    )


def test_a_batch_that_cannot_vary_stays_as_in_the_example():
    module = Outputs(lambda x: x.reshape(2, 12).mean(1))
    with pytest.warns(XportWarning, match="batch is fixed"):
        assert shown(module, example_inputs=torch.ones(2, 12)) == "x:float32[2,12] -> output:float32[2]"


def test_inputs_take_forwards_order_and_optional_ones_may_be_left_out():
    assert shown(TwoInputs(), inputs=["scale:float32[batch]", "ids:int64[batch,seq]"]) == (
        "ids:int64[batch,seq] scale:float32[batch] -> hidden:float32[batch,seq,6] pooled:float32[batch,6]"
    )


def test_unknown_and_missing_input_names():
    with pytest.raises(UsageError, match="forward takes ids, scale, bias") as caught:
        shown(TwoInputs(), inputs=["a:int64[batch,seq]", "b:float32[batch]"])
    assert "--input 'ids:int64[batch,seq]'" in caught.value.fix
    with pytest.raises(UsageError, match="'scale' of TwoInputs is not described"):
        shown(TwoInputs(), inputs=["ids:int64[batch,seq]"])


def test_unknown_shapes():
    with pytest.raises(UsageError, match="does not record its input shapes") as caught:
        shown(Net())
    assert "--input 'x:float32[batch,3,224,224]'" in caught.value.fix


def test_torchscript_without_shapes_shows_what_it_was_traced_with(tmp_path):
    torch.jit.trace(Net(), torch.ones(2, 4)).save(str(tmp_path / "traced.pt"))
    torch.jit.script(Net()).save(str(tmp_path / "scripted.pt"))
    with pytest.raises(UsageError, match="is a TorchScript file and does not record") as caught:
        shown(tmp_path / "traced.pt")
    assert "--input 'x:float32[batch,4]'" in caught.value.fix
    with pytest.raises(UsageError) as caught:
        shown(tmp_path / "scripted.pt")
    assert "--input 'x:float32[batch,3,224,224]'" in caught.value.fix
    for name in ("traced.pt", "scripted.pt"):
        assert shown(tmp_path / name, inputs=["x:float32[n,4]"]) == "x:float32[n,4] -> output:float32[n,3]"


def test_exported_program_knows_its_shapes(tmp_path):
    n, seq = torch.export.Dim("n"), torch.export.Dim("seq", min=4, max=9)
    program = torch.export.export(
        TwoInputs(),
        (torch.zeros(2, 5, dtype=torch.int64), torch.ones(2)),
        dynamic_shapes={"ids": {0: n, 1: seq}, "scale": {0: n}},
    )
    torch.export.save(program, tmp_path / "m.pt2")
    assert shown(tmp_path / "m.pt2") == (
        "ids:int64[batch,ids_dim1] scale:float32[batch] -> hidden:float32[batch,ids_dim1,6] pooled:float32[batch,6]"
    )
    given = ["ids:int64[n,seq]", "scale:float32[n]"]
    assert shown(tmp_path / "m.pt2", inputs=given).endswith("hidden:float32[n,seq,6] pooled:float32[n,6]")


def test_exported_program_with_nested_inputs(tmp_path):
    class Nested(nn.Module):
        def forward(self, pair, factor=2, *, shift=None):
            return pair["a"] * factor + pair["b"][0]

    batch = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        Nested(),
        ({"a": torch.ones(3, 4), "b": [torch.ones(3, 4)]}, 3),
        dynamic_shapes={"pair": {"a": {0: batch}, "b": [{0: batch}]}, "factor": None},
    )
    torch.export.save(program, tmp_path / "m.pt2")
    source = open_source(tmp_path / "m.pt2")
    module = load_module(source)
    signature = derive_signature(source, module)
    assert [str(spec) for spec in signature.inputs] == ["pair_a:float32[batch,4]", "pair_b_0:float32[batch,4]"]
    ones = np.ones((5, 4), np.float32)
    np.testing.assert_array_equal(
        call_module(module, signature, {"pair_a": ones, "pair_b_0": ones})["output"], ones * 4
    )


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: (x, None, [x[0], x.sum()]), "output_0:float32[n,4] output_1:float32[4] output_2:float32[]"),
        (lambda x: {"a": x, "b": {"c": [x, x[:, 0]]}}, "a:float32[n,4] b_c_0:float32[n,4] b_c_1:float32[n]"),
        (lambda x: Pair(x.T, x.half()), "left:float32[4,n] right:float16[n,4]"),
        (lambda x: {"x": x}, "x_out:float32[n,4]"),
        (lambda x: torch.cat([x, x]), "output:float32[output_dim0,4]"),
        (lambda x: x.nonzero(), "output:int64[output_dim0,2]"),
        (lambda x: x.reshape(-1)[:2].to(torch.bfloat16), "output:bfloat16[2]"),
    ],
)
def test_outputs(function, expected):
    assert shown(Outputs(function), inputs=["x:float32[n,4]"]) == f"x:float32[n,4] -> {expected}"


def test_sizes_that_depend_on_values_are_not_taken_for_symbols():
    class Positive(nn.Module):
        def forward(self, x):
            return x[x >= 0]

    assert shown(Positive(), inputs=["x:float32[5]"]) == "x:float32[5] -> output:float32[output_dim0]"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"a": x, "count": 3}, "Output 'count' is a builtins.int"),
        (lambda x: None, "returns no tensor"),
        (lambda x: [x] * x.shape[0], "depending on its inputs"),
        (lambda x: x.reshape((1,) * x.shape[0] + (-1,)), "rank of output"),
    ],
)
def test_outputs_that_no_format_can_carry(function, message):
    with pytest.raises(UsageError, match=message) as caught:
        shown(Outputs(function), inputs=["x:float32[n,4]"])
    assert caught.value.fix


def test_output_names_by_the_user():
    names = ["first", "second"]
    assert shown(Outputs(lambda x: (x, x)), inputs=["x:float32[2]"], output_names=names) == (
        "x:float32[2] -> first:float32[2] second:float32[2]"
    )
    with pytest.raises(UsageError, match="2 output names are given, but Outputs returns 1"):
        shown(Outputs(lambda x: x), inputs=["x:float32[2]"], output_names=names)


def test_a_dimension_that_cannot_vary_is_named():
    with pytest.raises(UsageError, match="does not run on input:float32"):
        shown(nn.Linear(10, 3), inputs=["input:float32[batch,width]"])
    with pytest.raises(UsageError, match=r"dimension 'width' of .* cannot vary") as caught:
        shown(nn.Linear(7, 3), inputs=["input:float32[batch,width]"])
    assert "input:float32[batch,7]" in caught.value.fix


def test_sizes_with_a_minimum_are_found():
    assert shown(nn.Conv2d(3, 2, 9), inputs=["input:float32[n,3,h,w]"]) == (
        "input:float32[n,3,h,w] -> output:float32[n,2,output_dim2,output_dim3]"
    )


def test_zoo_describes_itself():
    assert shown("zoo:bert@small") == (
        "input_ids:int64[batch,sequence] attention_mask:int64[batch,sequence] -> "
        "last_hidden_state:float32[batch,sequence,64] pooler_output:float32[batch,64]"
    )


def test_call_module_by_name_at_two_batch_sizes():
    source = open_source(TwoInputs(), inputs=["scale:float32[batch]", "ids:int64[batch,seq]"])
    module = load_module(source)
    signature = derive_signature(source, module)
    for batch in (1, 3):
        inputs = {"scale": np.full(batch, 2, np.float32), "ids": np.ones((batch, 2), np.int64)}
        outputs = call_module(module, signature, inputs)
        assert list(outputs) == ["hidden", "pooled"]
        np.testing.assert_allclose(
            outputs["pooled"], module.table.weight[1].detach().numpy()[None].repeat(batch, 0) * 2
        )


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_dtypes_that_numpy_lacks(name):
    array = np.array([[1.5, -2.0], [0.0, 0.5]], np.float32).astype(getattr(ml_dtypes, name))
    tensor = to_tensor(array)
    assert str(tensor.dtype) == f"torch.{name}"
    assert to_array(tensor).dtype == array.dtype
    np.testing.assert_array_equal(to_array(tensor.T).astype(np.float32), array.T.astype(np.float32))


def test_flatten_keeps_names_unique():
    x = torch.ones(1)
    assert [name for name, _ in flatten_outputs({"a_b": x, "a": {"b": x}})] == ["a_b", "a_b_"]


def test_control_flow_runs():
    assert shown(torch.jit.script(Branching()), inputs=["x:float32[n]"]) == "x:float32[n] -> output:float32[n]"
