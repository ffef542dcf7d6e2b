"""The digits of scikit-learn and training on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xport.models

pytest.importorskip("sklearn")

from xport.models.digits import accuracy, load_digits_data, train


def test_split_is_seeded_scaled_and_stratified():
    train_x, train_y, test_x, test_y = load_digits_data()
    assert train_x.shape == (1347, 1, 8, 8)
    assert test_x.shape == (450, 1, 8, 8)
    assert train_x.dtype == np.float32
    assert train_x.min() == 0.0
    assert train_x.max() == 1.0
    assert set(np.bincount(test_y)) <= {43, 44, 45, 46, 47}
    np.testing.assert_array_equal(test_y, load_digits_data()[3])
    assert not np.array_equal(train_y, load_digits_data(seed=1)[1])


def test_training_reaches_97_percent_on_held_out_digits():
    train_x, train_y, test_x, test_y = load_digits_data()
    module = xport.models.build("digits_cnn").module
    state = torch.get_rng_state()
    heard = []
    train(module, train_x, train_y, progress=lambda epoch, loss: heard.append((epoch, loss)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not module.training
    assert [epoch for epoch, _ in heard] == list(range(1, 16))
    assert heard[-1][1] < heard[0][1]
    assert accuracy(module, test_x, test_y) >= 0.97
