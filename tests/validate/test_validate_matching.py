from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xport.convert.source import Source
from xport.errors import UsageError
from xport.formats import Format
from xport.signature import Signature, TensorSpec
from xport.validate.matrix.matching import match
from xport.validate.matrix.subjects import Subject


def subject(name, file_format=Format.ONNX):
    return Subject(name, Source(file_format, None, Path(name)), 1, "")


def signature(inputs, outputs):
    parse = TensorSpec.parse
    return Signature(tuple(map(parse, inputs)), tuple(map(parse, outputs)))


REFERENCE = signature(["x:float32[n,4]", "m:int64[n]"], ["y:float32[n,3]", "z:float32[n]"])


def test_equal_names_in_another_order():
    other = Signature(REFERENCE.inputs[::-1], REFERENCE.outputs[::-1])
    found = match(subject("a.onnx"), REFERENCE, subject("b"), other)
    assert not found.renamed
    assert not found.problem
    assert not found.notes


def test_names_that_the_user_maps():
    other = signature(["input:float32[n,4]", "m:int64[n]"], ["y:float32[n,3]", "out:float32[n]"])
    found = match(subject("a"), REFERENCE, subject("b"), other, {"x": "input", "z": "out"})
    assert found.renamed == {"x": "input", "z": "out"}
    assert "x = input" in found.notes[0]
    assert list(found.send({"x": np.ones(1), "m": np.ones(1)})) == ["input", "m"]
    assert list(found.receive({"y": np.ones(1), "out": np.ones(1)})) == ["y", "z"]


def test_other_names_are_refused_with_both_signatures_side_by_side():
    other = signature(["input:float32[n,4]", "m:int64[n]"], ["y:float32[n,3]", "out:float32[n]"])
    with pytest.raises(UsageError) as caught:
        match(subject("a.onnx"), REFERENCE, subject("b.onnx"), other)
    assert "x:float32[n,4]  input:float32[n,4]" in caught.value.message
    assert "--map x=input --map z=out" in caught.value.fix


def test_another_number_of_tensors_is_refused():
    with pytest.raises(UsageError, match="—"):
        match(subject("a"), REFERENCE, subject("b"), replace(REFERENCE, outputs=REFERENCE.outputs[:1]))


def test_output_names_that_nobody_chose_give_way_to_the_order():
    other = signature(["x:float32[n,4]", "m:int64[n]"], ["output_0:float32[n,3]", "output_1:float32[n]"])
    found = match(subject("a.onnx"), REFERENCE, subject("b.pt", Format.TORCHSCRIPT), other)
    assert found.renamed == {"y": "output_0", "z": "output_1"}
    assert "b.pt records no output names" in found.notes[0]
    swapped = Signature(other.inputs, other.outputs[::-1])
    with pytest.raises(UsageError):
        match(subject("a.onnx"), REFERENCE, subject("b.pt", Format.TORCHSCRIPT), swapped)


@pytest.mark.parametrize("changed", ["x:float16[n,4]", "x:float32[n,4,1]", "x:float32[n,5]"])
def test_dtypes_ranks_and_layouts_that_differ_are_a_problem(changed):
    other = signature([changed, "m:int64[n]"], ["y:float32[n,3]", "z:float32[n]"])
    assert changed in match(subject("a"), REFERENCE, subject("b"), other).problem


def test_a_fixed_size_is_noted():
    other = signature(["x:float32[1,4]", "m:int64[1]"], ["y:float32[1,3]", "z:float32[1]"])
    found = match(subject("a"), REFERENCE, subject("b"), other)
    assert not found.problem
    assert "fixed" in found.notes[0]
