"""Files of a user's own arrays."""

import numpy as np
import pytest

from xport import arrays
from xport.errors import InputsError


def test_what_was_saved_comes_back(tmp_path):
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([True, False])
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez_compressed(tmp_path / "b.npz", x=x, y=y)
    np.save(tmp_path / "x.npy", x)
    for name in ("a.npz", "b.npz"):
        loaded = arrays.load_named(tmp_path / name, "fix")
        assert list(loaded) == ["x", "y"]
        np.testing.assert_array_equal(loaded["x"], x)
        np.testing.assert_array_equal(loaded["y"], y)
    np.testing.assert_array_equal(arrays.load_array(tmp_path / "x.npy", "fix"), x)


def test_what_would_fill_the_memory_is_weighed_first(tmp_path, monkeypatch):
    """Zeros shrink a thousandfold, which is fine while they are few."""
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, x=np.zeros(1 << 20, np.float32))
    assert not arrays.load_named(path, "fix")["x"].any()
    monkeypatch.setattr(arrays, "ALWAYS_FINE", 1 << 20)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(InputsError, match="would unpack to 4 MB: it looks like a zip bomb") as caught:
        arrays.load_named(path, "Write it so.")
    assert caught.value.fix == "Write it so."


def test_a_large_archive_that_stands_as_it_is_is_fine(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "ALWAYS_FINE", 100)
    np.savez(tmp_path / "x.npz", x=np.zeros(1000))
    assert len(arrays.load_named(tmp_path / "x.npz", "fix")["x"]) == 1000


@pytest.mark.parametrize("load", [arrays.load_named, arrays.load_array])
def test_what_cannot_be_read(tmp_path, load):
    with pytest.raises(InputsError, match=r"no\.npz does not exist"):
        load(tmp_path / "no.npz", "fix")
    for name, data in (
        ("empty", b""),
        ("text", b"no numbers"),
        ("cut.npz", b"PK\x03\x04 and no more"),
        ("cut.npy", b"\x93NUMPY\x01"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputsError, match="cannot be read") as caught:
            load(tmp_path / name, "Write it so.")
        assert caught.value.fix == "Write it so."


def test_one_array_is_no_archive_and_an_archive_no_array(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(2))
    np.savez(tmp_path / "x.npz", x=np.zeros(2))
    with pytest.raises(InputsError, match="one bare array"):
        arrays.load_named(tmp_path / "x.npy", "fix")
    with pytest.raises(InputsError, match="archive of arrays") as caught:
        arrays.load_array(tmp_path / "x.npz", "fix")
    assert "x.npz" in caught.value.fix


def test_pickled_objects_are_not_opened(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{}], object))
    with pytest.raises(InputsError, match="cannot be read: Object arrays cannot be loaded"):
        arrays.load_named(tmp_path / "x.npz", "fix")
