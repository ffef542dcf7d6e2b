import numpy as np
import pytest

from xport.validate.latency import LEAST_FACTOR, Latency, compare, measure, summarize
from xport.validate.matrix.remote import WarmUp
from xport.validate.matrix.timing import DEFAULT_RUNS, LEAST_RUNS, _order, _plan


def rounds(seconds, *, seed=0, spread=0.05, count=20, size=5):
    rng = np.random.default_rng(seed)
    return (seconds * (1 + spread * np.abs(rng.standard_normal((count, size))))).tolist()


def test_percentiles_lie_in_their_intervals():
    latency = summarize(rounds(1e-3))
    assert latency.runs == 100
    assert latency.p50 < latency.p90 < latency.p99
    for name in ("p50", "p90", "p99"):
        low, high = getattr(latency, f"{name}_interval")
        assert low <= getattr(latency, name) <= high


def test_intervals_hold_the_true_median():
    """Of 200 measurements of the same thing, at least nine in ten intervals hold its true median."""
    true = float(np.median(np.abs(np.random.default_rng(1).standard_normal(10**6)))) * 0.05 + 1
    held = 0
    for seed in range(200):
        low, high = summarize(rounds(1.0, seed=seed)).p50_interval
        held += low <= true <= high
    assert held >= 180


def test_the_same_model_twice_is_within_noise():
    found = compare("a", summarize(rounds(1.0, seed=1)), "b", summarize(rounds(1.0, seed=2)))
    assert not found.distinct
    assert str(found) == "a and b are equally fast within noise"


def test_a_small_difference_between_processes_is_no_difference():
    factor = (1 + LEAST_FACTOR) / 2
    found = compare("a", summarize(rounds(1.0, spread=1e-4)), "b", summarize(rounds(factor, spread=1e-4)))
    assert not found.distinct


@pytest.mark.parametrize(("first", "second", "words"), [(1.0, 1.8, "a is 1.80 × faster than b"), (3.6, 2.0, "b is 1.80 × faster than a")])  # fmt: skip  # noqa: E501, RUF001
def test_a_difference_is_told_from_the_faster_ones_side(first, second, words):
    found = compare("a", summarize(rounds(first, spread=0.01)), "b", summarize(rounds(second, spread=0.01, seed=1)))
    assert found.distinct
    assert str(found).startswith(words)
    assert found.interval[0] < found.times < found.interval[1]


def test_of_an_unsteady_machine_only_what_is_certain_is_told():
    unsteady = [[4.0] * 5, [40.0] * 5] * 10
    found = compare("a", summarize(rounds(1.0)), "b", summarize(unsteady))
    assert found.distinct
    assert "at least" in str(found)
    assert "unsteady" in str(found)


def test_too_few_rounds_tell_nothing():
    found = compare("a", summarize(rounds(1.0, count=5)), "b", summarize(rounds(3.0, count=5)))
    assert not found.distinct
    assert "too few rounds (5)" in str(found)
    assert compare("a", summarize(rounds(1.0, count=6)), "b", summarize(rounds(3.0, count=6))).distinct


def test_a_drift_of_the_machine_does_not_hide_a_paired_difference():
    drift = np.linspace(1, 3, 20)[:, None]
    slow, fast = np.array(rounds(2.0, seed=1)) * drift, np.array(rounds(1.0, seed=2)) * drift
    low, high = compare("fast", summarize(fast.tolist()), "slow", summarize(slow.tolist())).interval
    assert 1.5 < low < 2.0 < high < 2.6


def test_measuring_calls_of_this_process():
    calls = {"a": 0, "b": 0}

    def count(name):
        calls[name] += 1

    found = measure({name: (lambda name=name: count(name)) for name in calls}, rounds=7)
    assert {name: latency.runs for name, latency in found.items()} == {"a": 7, "b": 7}
    assert calls == {"a": 12, "b": 12}


def test_latency_survives_json():
    latency = summarize(rounds(1e-3), warm_up=12, steady=False)
    assert Latency.from_json(latency.to_json()) == latency


@pytest.mark.parametrize(
    ("seconds", "runs", "turn", "counted"),
    [(1e-4, None, 5, DEFAULT_RUNS), (1e-4, 7, 1, 7), (1e-4, 2, 1, 2), (0.5, None, 1, LEAST_RUNS), (30.0, 3, 1, 3)],
)
def test_slow_models_are_timed_less_often_unless_the_user_says_how_often(seconds, runs, turn, counted):
    size, count = _plan([WarmUp(10, seconds, True), WarmUp(10, seconds / 2, True)], runs)
    assert (size, size * count) == (turn, counted)


def test_everybody_begins_a_round_in_turn():
    assert [_order([0, 1, 2], number)[0] for number in range(4)] == [0, 1, 2, 0]
