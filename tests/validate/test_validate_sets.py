import numpy as np
import pytest

from xport.errors import InputsError, UsageError
from xport.signature import Signature, TensorSpec
from xport.validate.matrix.sets import batch_sizes, digest, ladders, user_sets

OUTPUT = (TensorSpec("y", "float32", ("batch", 2)),)
TABULAR = Signature((TensorSpec("x", "float32", ("batch", 4)),), OUTPUT)
TOKENS = Signature(
    (TensorSpec("ids", "int64", ("batch", "time")), TensorSpec("x", "float32", ("batch", "time", 2))), OUTPUT
)
FIXED = Signature((TensorSpec("x", "float32", (5, 4)),), (TensorSpec("y", "float32", (5, 2)),))


def test_batch_sizes():
    assert batch_sizes(TABULAR, ()) == [1, 8]
    assert batch_sizes(TABULAR, (32, 1, 32)) == [32, 1]
    assert batch_sizes(FIXED, ()) == [None]
    assert batch_sizes(FIXED, (5,)) == [None]
    with pytest.raises(UsageError, match="no dynamic batch"):
        batch_sizes(FIXED, (1, 8))


def test_every_batch_size_has_sets_and_the_smallest_has_edges():
    sets = ladders(TABULAR, [2, 7], seed=0, bounds={})[0]
    assert {len(s.case.inputs["x"]) for s in sets if s.batch == 7} == {7}
    assert {s.kind for s in sets if s.is_edge} == {"zeros", "ones", "large", "tiny", "repeated"}
    assert {s.batch for s in sets if s.is_edge} == {2}
    assert len({s.case.name for s in sets}) == len(sets)


def test_other_dynamic_sizes_vary_at_one_batch_size():
    sets = ladders(TOKENS, [4], seed=0, bounds={"ids": (3, 9)})[0]
    ordinary = [s for s in sets if not s.is_edge]
    assert len({s.case.inputs["ids"].shape[1] for s in ordinary}) == 2
    drawn = np.concatenate([s.case.inputs["ids"].ravel() for s in sets])
    assert drawn.min() >= 3
    assert drawn.max() < 9


def test_the_seed_decides_the_bytes():
    first, same, other = (digest(ladders(TABULAR, [1, 3], seed=s, bounds={})[0]) for s in (0, 0, 1))
    assert first == same != other


def test_edges_of_small_integers_are_not_drawn_twice():
    signature = Signature((TensorSpec("ids", "int64", ("batch", 3)),), OUTPUT)
    sets = [s for s in ladders(signature, [1], seed=0, bounds={"ids": (0, 1)})[0] if s.is_edge]
    assert len({s.case.sha256 for s in sets}) == len(sets)


def test_own_inputs_from_a_file_a_folder_and_arrays(tmp_path):
    rng = np.random.default_rng(0)
    for name, rows in (("a", 3), ("b", 6)):
        np.savez(tmp_path / f"{name}.npz", x=rng.standard_normal((rows, 4)).astype(np.float32))
    assert [s.batch for s in user_sets(tmp_path / "b.npz", TABULAR, ())] == [6]
    assert [s.batch for s in user_sets(str(tmp_path), TABULAR, ())] == [3, 6]
    given = {"x": np.ones((2, 4), np.float32)}
    assert [s.batch for s in user_sets([given, given], TABULAR, ())] == [2, 2]
    single = tmp_path / "single"
    single.mkdir()
    np.save(single / "x.npy", np.ones((2, 4), np.float32))
    assert user_sets(single, TABULAR, ())[0].batch == 2


def test_own_inputs_are_cut_into_batches(tmp_path):
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    sets = user_sets({"x": x}, TABULAR, (4, 1))
    assert [s.batch for s in sets] == [4, 4, 1, 1, 1, 1]
    np.testing.assert_array_equal(sets[1].case.inputs["x"], x[4:8])
    with pytest.raises(InputsError, match="10 rows, fewer than the batch of 11"):
        user_sets({"x": x}, TABULAR, (11,))


@pytest.mark.parametrize("given", [{"x": np.ones((2, 5), np.float32)}, {"z": np.ones((2, 4), np.float32)}, {}])
def test_inputs_that_do_not_fit_are_refused(given):
    with pytest.raises(InputsError):
        user_sets(given, TABULAR, ())


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputsError, match="holds neither"):
        user_sets(tmp_path, TABULAR, ())
