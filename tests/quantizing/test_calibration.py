import numpy as np
import pytest

from xport.convert.quantizing.calibration import load
from xport.errors import InputsError
from xport.signature import Signature, TensorSpec


def signature(*inputs):
    return Signature(tuple(TensorSpec.parse(text) for text in inputs), ())


TWO = signature("image:float32[batch,1,4,4]", "ids:int64[batch,seq]")


def two(count=20, **changes):
    return {"image": np.zeros((count, 1, 4, 4), np.float32), "ids": np.ones((count, 6), np.int64), **changes}


def rows(batches, name="image"):
    return sum(len(batch[name]) for batch in batches)


def test_a_quarter_is_held_out_and_none_is_in_both(tmp_path):
    images = np.arange(40, dtype=np.float32).reshape(40, 1, 1, 1) * np.ones((1, 1, 4, 4), np.float32)
    np.savez(tmp_path / "data.npz", **two(40, image=images))
    found = load(tmp_path / "data.npz", TWO)
    assert (found.rows, rows(found.ranges), rows(found.held_out), found.shared) == (40, 30, 10, False)
    seen = [set(np.concatenate([b["image"][:, 0, 0, 0] for b in side])) for side in (found.ranges, found.held_out)]
    assert not seen[0] & seen[1]
    assert len(seen[0] | seen[1]) == 40
    assert {len(batch["ids"]) for batch in found.ranges} == {16, 14}


def test_few_samples_do_both():
    found = load(two(2), TWO)
    assert found.shared
    assert rows(found.ranges) == rows(found.held_out) == 2


def test_folders_of_npz_may_have_lengths_of_their_own(tmp_path):
    for number, length in enumerate((3, 9)):
        np.savez(tmp_path / f"{number}.npz", **two(8, ids=np.ones((8, length), np.int64)))
    found = load(tmp_path, TWO)
    assert found.rows == 16
    assert {batch["ids"].shape[1] for batch in found.ranges} == {3, 9}


def test_folders_of_npy(tmp_path):
    for name, array in two(8).items():
        np.save(tmp_path / f"{name}.npy", array)
    assert load(tmp_path, TWO).rows == 8
    np.save(tmp_path / "part2.npy", two(8)["image"])
    (tmp_path / "ids.npy").unlink()
    (tmp_path / "image.npy").rename(tmp_path / "part1.npy")
    assert load(tmp_path, signature("image:float32[batch,1,4,4]")).rows == 16


def test_a_fixed_batch_takes_whole_batches():
    found = load({"x": np.zeros((9, 3), np.float32)}, signature("x:float32[2,3]"))
    assert {len(b["x"]) for b in [*found.ranges, *found.held_out]} == {2}


def test_whole_inputs_one_after_the_other():
    found = load({"x": np.zeros((8, 2, 3), np.float32)}, signature("x:float32[2,3]"))
    assert [b["x"].shape for b in found.held_out] == [(2, 3)] * 2


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "needs calibration data"),
        (two(image=np.zeros((20, 4, 4), np.float32)), r"'image' has shape \[20, 4, 4\].*samples, 1, 4, 4"),
        (two(image=np.zeros((20, 3, 4, 4), np.float32)), "'image' has shape"),
        (two(image=np.zeros((20, 1, 4, 4))), "'image' is float64, expected float32"),
        (two(ids=np.ones((20, 6), np.int32)), "'ids' is int32, expected int64"),
        (two(image=np.full((20, 1, 4, 4), np.nan, np.float32)), "'image' holds NaN"),
        (two(image=np.zeros((19, 1, 4, 4), np.float32)), "unequal numbers of samples: image has 19, ids has 20"),
        ({"image": two()["image"]}, "lacks the input 'ids'"),
        (two(mask=np.zeros(20)), "'mask', which is no input"),
        (two(0), "no whole batch"),
    ],
)
def test_what_does_not_fit_is_named(data, told):
    with pytest.raises(InputsError, match=told):
        load(data, TWO)


def test_the_error_says_how_to_write_the_file():
    with pytest.raises(InputsError) as caught:
        load(None, TWO)
    assert "numpy.savez('calibration.npz', image=…, ids=…)" in caught.value.fix
    assert "ids: int64[samples, seq]" in caught.value.fix


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY broken"])
def test_files_that_are_none(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputsError, match="cannot be read"):
        load(tmp_path / "x.npz", TWO)
    with pytest.raises(InputsError, match="does not exist"):
        load(tmp_path / "y.npz", TWO)


def test_a_bare_array_is_no_npz(tmp_path):
    with (tmp_path / "x.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputsError, match="one bare array"):
        load(tmp_path / "x.npz", TWO)
