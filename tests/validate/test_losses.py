"""The verdict on candidates of lower precision, on arrays."""

import math

import numpy as np
import pytest

from xport.validate.losses import Answer, _unlikely, judge_loss
from xport.validate.parity import judge
from xport.validate.precision import LEAST, Precision
from xport.validate.verdicts import OutputVerdict, Tolerance

INT8 = Precision("int8", "rounding")
RNG = np.random.default_rng(0)


@pytest.fixture
def true():
    return RNG.standard_normal((64, 20))


def noisy(array, relative, seed=1):
    """An array with normal noise of a size relative to its own."""
    noise = np.random.default_rng(seed).standard_normal(array.shape)
    return array + relative * noise * np.sqrt(np.mean(array**2))


def verdict_on(expected, meant, rounded, actual, *, precision=INT8, tolerance=None, **options):
    def as_float32(array):
        return None if array is None else {"y": array.astype(np.float32)}

    base = judge(as_float32(expected), as_float32(actual), {"y": expected}, tolerance=tolerance)
    pair = ({"y": meant}, {"y": rounded}) if meant is not None else ()
    (found,) = judge_loss(base, [Answer({"y": expected}, as_float32(actual), *pair)], precision, **options)
    return found


def test_a_loss_that_is_meant_passes_and_is_told_apart(true):
    meant = noisy(true, 0.02)
    found = verdict_on(true, meant, noisy(meant, 0.01, 2), noisy(meant, 0.01, 3))
    assert (found.verdict, found.rule) == ("faithful", "floor")
    assert found.loss.sqnr_db == pytest.approx(34, abs=0.5)
    assert found.ratio == pytest.approx(1, abs=0.2)
    assert "int8 keeps 3" in found.reason
    assert "of the decisions" in found.reason


def test_a_collapsed_model_fails_though_its_runtime_is_faithful(true):
    meant = noisy(true, 0.5)
    found = verdict_on(true, meant, noisy(meant, 0.01, 2), noisy(meant, 0.01, 3))
    assert (found.verdict, found.rule) == ("failed", "loss")
    assert "The int8 model itself keeps 6." in found.reason
    assert not found.loss.passed


def test_a_runtime_that_computes_something_else_fails_though_little_is_lost(true):
    meant = noisy(true, 0.02)
    found = verdict_on(true, meant, noisy(meant, 0.01, 2), noisy(meant, 0.09, 3))
    assert (found.verdict, found.rule) == ("failed", "floor")
    assert "The runtime does not compute what the int8 model says" in found.reason
    assert found.loss.passed


def test_what_both_parts_allow_may_still_be_too_much(true):
    meant = noisy(true, 0.2)
    found = verdict_on(true, meant, noisy(meant, 0.1, 2), noisy(meant, 0.3, 3))
    assert found.verdict == "failed"
    assert "dB are left of the reference" in found.reason


def test_decisions_that_flip_fail_beyond_chance():
    true = np.zeros((64, 20))
    true[:, 0], true[:, 1:] = 1.0, 0.98
    meant = noisy(true, 0.05)
    found = verdict_on(true, meant, noisy(meant, 0.01, 2), meant)
    assert found.rule == "loss"
    assert "decides otherwise" in found.reason
    few = slice(0, 2)
    assert verdict_on(true[few], meant[few], noisy(meant[few], 0.01, 2), meant[few]).loss.passed


def test_without_a_meaning_the_whole_difference_is_judged_and_said_so(true):
    good = verdict_on(true, None, None, noisy(true, 0.05), why="its meaning cannot be had: no")
    bad = verdict_on(true, None, None, noisy(true, 0.5), why="its meaning cannot be had: no")
    assert (good.verdict, good.rule, bad.verdict, bad.rule) == ("faithful", "loss", "failed", "loss")
    assert "cannot be had" in good.reason
    assert "cannot be had" in bad.reason


def test_of_a_reference_as_coarse_nothing_may_be_lost(true):
    rounded = noisy(true, 0.01, 2)
    assert verdict_on(true, true, rounded, noisy(true, 0.01, 3), reduces=False).passed
    found = verdict_on(true, true, rounded, noisy(true, 0.1, 3), reduces=False)
    assert (found.verdict, found.loss) == ("failed", None)


def test_the_users_limits_replace_the_tables(true):
    meant = noisy(true, 0.5)
    args = (true, meant, noisy(meant, 0.05, 2), noisy(meant, 0.05, 3))
    assert verdict_on(*args, least_db=3.0).passed
    assert not verdict_on(*args, least_db=9.0).passed
    loose = verdict_on(*args, tolerance=Tolerance(atol=10.0))
    assert (loose.verdict, loose.rule) == ("faithful", "tolerance")
    assert loose.loss.sqnr_db < 9


def test_nan_fails_unless_the_arithmetic_itself_leaves_its_range(true):
    meant = noisy(true, 0.001)
    actual, rounded = meant.copy(), noisy(meant, 0.001, 2)
    actual[3, 4] = np.nan
    half = Precision("float16")
    assert verdict_on(true, meant, rounded, actual, precision=half).rule == "structure"
    assert verdict_on(true, meant, rounded, actual, precision=half, reduces=False).verdict == "failed"
    rounded[3, 4] = np.inf
    found = verdict_on(true, meant, rounded, actual, precision=half, reduces=False)
    assert found.passed
    assert "Beyond the range of float16" in found.reason


def test_a_meaning_that_is_nan_is_a_loss_whatever_the_runtime_answers(true):
    meant = noisy(true, 0.001)
    meant[2, 3] = np.nan
    found = verdict_on(true, meant, noisy(meant, 0.001, 2), noisy(true, 0.001, 3))
    assert (found.verdict, found.rule) == ("failed", "loss")
    assert "NaN or Inf in 1 values" in found.reason


@pytest.mark.parametrize(("error", "passed"), [(0.001, True), (0.5, False)])
def test_where_its_own_arithmetic_overflows_the_whole_difference_counts(true, error, passed):
    meant = noisy(true, 0.001)
    rounded = noisy(meant, 0.001, 2)
    rounded[0, 0] = np.inf
    found = verdict_on(true, meant, rounded, noisy(true, error, 3), precision=Precision("float16"))
    assert found.passed == passed
    assert "dB are left" in found.reason


def test_whole_numbers_are_decisions():
    expected, actual = np.arange(400), np.arange(400)
    actual[:8] += 1

    def of(found):
        base = judge({"y": expected}, {"y": found})
        return judge_loss(base, [Answer({"y": expected}, {"y": found}, {"y": expected}, {"y": expected})], INT8)[0]

    assert of(actual).passed
    actual[:100] += 1
    assert not of(actual).passed


@pytest.mark.parametrize(("rows", "flips", "unlikely"), [(3, 1, False), (4, 4, True), (27, 8, False), (27, 12, True)])
def test_few_rows_prove_little(rows, flips, unlikely):
    assert _unlikely(rows, flips, 0.1) == unlikely


def test_many_rows_are_counted_at_once_and_like_few():
    assert _unlikely(10**7, 10**6 + 4000, 0.1)
    assert not _unlikely(10**7, 10**6 + 100, 0.1)
    least = [next(f for f in range(200) if _unlikely(rows, f, 0.1)) for rows in (200, 201)]
    assert abs(least[0] - least[1]) <= 2


def test_text_must_be_equal_in_every_precision():
    words, others = np.array(["a", "b"], object), np.array(["a", "c"], object)
    for actual, passed in ((words, True), (others, False)):
        base = judge({"y": words}, {"y": actual})
        (found,) = judge_loss(base, [Answer({"y": words}, {"y": actual}, {"y": words}, {"y": words})], INT8)
        assert (found.passed, found.loss) == (passed, None)


def test_an_edge_set_without_a_meaning_says_that_nobody_judged_it(true):
    found = verdict_on(true, None, None, noisy(true, 0.5), reduces=False, why="its meaning cannot be had: no")
    assert found.passed
    assert found.reason == "Not judged: its meaning cannot be had: no."


def test_a_verdict_with_a_loss_survives_json(true):
    meant = noisy(true, 0.02)
    found = verdict_on(true, meant, noisy(meant, 0.01, 2), meant)
    again = OutputVerdict.from_json(found.to_json())
    assert again.loss == found.loss
    nothing = verdict_on(true, true, noisy(true, 0.01, 2), true * (1 + 1e-7))
    assert math.isinf(OutputVerdict.from_json(nothing.to_json()).loss.sqnr_db)


def test_coarser_precisions_may_lose_more():
    least = list(LEAST.values())
    assert [a.sqnr_db for a in least] == sorted((a.sqnr_db for a in least), reverse=True)
    assert [a.top1 for a in least] == sorted((a.top1 for a in least), reverse=True)
