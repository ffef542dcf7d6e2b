import json

import ml_dtypes
import numpy as np
import pytest

from xport.validate.figures import measure
from xport.validate.floor import LIMIT, allowance
from xport.validate.parity import judge, judge_golden
from xport.validate.verdicts import OutputVerdict, Tolerance

RNG = np.random.default_rng(0)


def rounded(true, error=1e-6, seed=0):
    """A float32 result with a relative rounding error of a given size."""
    noise = np.random.default_rng(seed).standard_normal(true.shape)
    return (true + error * noise * np.sqrt(np.mean(true**2))).astype(np.float32)


@pytest.fixture
def true():
    return RNG.standard_normal((8, 50))


def test_equal_outputs_are_exact(true):
    (verdict,) = judge({"y": rounded(true)}, {"y": rounded(true)})
    assert (verdict.verdict, verdict.rule, verdict.figures.max_abs) == ("exact", "exact", 0.0)


def test_rounding_of_the_same_size_is_faithful(true):
    (verdict,) = judge({"y": rounded(true)}, {"y": rounded(true, seed=1)}, {"y": true})
    assert (verdict.verdict, verdict.rule) == ("faithful", "floor")
    assert 0.7 < verdict.ratio < 1.4


@pytest.mark.parametrize("times", [9, 100, 1e4])
def test_errors_above_the_floor_fail(true, times):
    (verdict,) = judge({"y": rounded(true)}, {"y": rounded(true, 1e-6 * times, seed=1)}, {"y": true})
    assert (verdict.verdict, verdict.rule) == ("failed", "floor")
    assert "rounding floor" in verdict.reason


def test_a_local_defect_fails_though_the_average_hides_it():
    true = np.random.default_rng(1).standard_normal((1, 200_000))
    actual = rounded(true, seed=1)
    actual[0, 77] += 1e-4
    (verdict,) = judge({"y": rounded(true)}, {"y": actual}, {"y": true})
    assert verdict.ratio < LIMIT
    assert verdict.verdict == "failed"
    assert "local defect" in verdict.reason
    assert verdict.figures.worst_index == (0, 77)


def test_a_fault_in_one_case_fails():
    truths = [RNG.standard_normal((n, 40)) for n in (2, 3, 1, 1, 1, 1)]
    actual = [{"y": rounded(t, seed=i + 10)} for i, t in enumerate(truths)]
    actual[2] = {"y": rounded(truths[2], 1e-5, seed=5)}
    (verdict,) = judge(
        [{"y": rounded(t, seed=i)} for i, t in enumerate(truths)],
        actual,
        [{"y": t} for t in truths],
        names=list("abcdef"),
    )
    assert verdict.verdict == "failed"
    assert verdict.case == "c"


def test_cases_of_other_magnitude_pool():
    truths = [RNG.standard_normal((4, 40)) * scale for scale in (1e-10, 1, 1e10)]
    (verdict,) = judge(
        [{"y": rounded(t)} for t in truths], [{"y": rounded(t, seed=3)} for t in truths], [{"y": t} for t in truths]
    )
    assert verdict.verdict == "faithful"


def test_a_lucky_source_does_not_condemn_a_single_value():
    true = np.array([[1 / 3]])
    expected, actual = true.astype(np.float32), np.nextafter(true.astype(np.float32), np.float32(2))
    (verdict,) = judge({"y": expected}, {"y": actual}, {"y": true})
    assert verdict.verdict == "faithful"
    assert allowance(1) > 10 > 4 > allowance(10) > allowance(1000)


def test_a_float64_result_that_is_none_is_not_trusted(true):
    expected = rounded(true)
    (verdict,) = judge({"y": expected}, {"y": rounded(true, seed=1)}, {"y": expected.astype(np.float64)})
    assert (verdict.verdict, verdict.rule) == ("faithful", "table")
    assert "no finer" in verdict.reason


def test_a_float64_result_far_from_the_source_is_not_trusted(true):
    (verdict,) = judge({"y": rounded(true)}, {"y": rounded(true, seed=1)}, {"y": true * 1.5})
    assert verdict.rule == "table"
    assert "away from its own float64 result" in verdict.reason


def test_without_float64_the_table_judges(true):
    for error, wanted in ((1e-6, "faithful"), (1e-2, "failed")):
        (verdict,) = judge({"y": rounded(true)}, {"y": rounded(true, error, seed=1)}, no_reference="it is an exam")
        assert (verdict.verdict, verdict.rule) == (wanted, "table")
        assert "it is an exam" in verdict.reason


def test_half_precision_is_judged_by_its_own_floor(true):
    for dtype in (np.float16, ml_dtypes.bfloat16):
        eps = float(ml_dtypes.finfo(dtype).eps)
        noise = [eps * np.random.default_rng(i).standard_normal(true.shape) for i in range(2)]
        expected, actual = ((true + n).astype(dtype) for n in noise)
        (verdict,) = judge({"y": expected}, {"y": actual}, {"y": true})
        assert (verdict.verdict, verdict.rule) == ("faithful", "floor")
        (verdict,) = judge({"y": expected}, {"y": (true * 1.5).astype(dtype)}, {"y": true})
        assert verdict.verdict == "failed"


def test_the_users_tolerance_replaces_the_floor(true):
    far = rounded(true, 1e-3, seed=1)
    (loose,) = judge({"y": rounded(true)}, {"y": far}, {"y": true}, tolerance=Tolerance(atol=0.1))
    (tight,) = judge({"y": rounded(true)}, {"y": far}, {"y": true}, tolerance=Tolerance(rtol=1e-9))
    assert (loose.verdict, loose.rule, tight.verdict) == ("faithful", "tolerance", "failed")
    assert loose.ratio > 100


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool, ml_dtypes.int4])
def test_integers_and_bools_are_exact(dtype):
    expected = np.array([0, 1, 1, 0]).astype(dtype)
    (same,) = judge({"y": expected}, {"y": expected.copy()})
    (other,) = judge({"y": expected}, {"y": np.array([0, 1, 1, 1]).astype(dtype)})
    assert (same.verdict, other.verdict) == ("exact", "failed")
    assert "1 of 4" in other.reason


def test_text_is_exact_whether_bytes_or_str():
    (same,) = judge({"y": np.array(["a", "ß"], object)}, {"y": np.array([b"a", "ß".encode()], object)})
    (other,) = judge({"y": np.array(["a"], object)}, {"y": np.array(["b"], object)})
    assert (same.verdict, other.verdict) == ("exact", "failed")


def test_large_integers_do_not_lose_their_last_digit():
    expected = np.array([2**53 + 1])
    (verdict,) = judge({"y": expected}, {"y": expected - 1})
    assert verdict.verdict == "failed"


@pytest.mark.parametrize(
    ("actual", "words"),
    [
        (np.zeros((2, 2), np.float32), "shape"),
        (np.zeros(3, np.float64), "dtype"),
        (np.array([np.nan, 0, 0], np.float32), "NaN"),
        (np.array([0, np.inf, 0], np.float32), "Inf"),
    ],
)
def test_structure_is_judged_first(actual, words):
    (verdict,) = judge({"y": np.zeros(3, np.float32)}, {"y": actual}, tolerance=Tolerance(atol=1e9))
    assert (verdict.verdict, verdict.rule) == ("failed", "structure")
    assert words in verdict.reason


def test_nan_and_inf_in_the_same_places_agree(true):
    expected, actual = rounded(true), rounded(true, seed=1)
    for array in (expected, actual):
        array[0, :3] = np.nan, np.inf, -np.inf
    (verdict,) = judge({"y": expected}, {"y": actual}, {"y": true})
    assert verdict.verdict == "faithful"


def test_outputs_that_are_missing_or_extra_fail():
    verdicts = judge({"a": np.zeros(1), "b": np.zeros(1)}, {"a": np.zeros(1), "c": np.zeros(1)})
    assert [(v.output, v.verdict) for v in verdicts] == [("a", "exact"), ("b", "failed"), ("c", "failed")]


def test_an_output_without_values_is_exact():
    (verdict,) = judge(
        {"y": np.zeros((0, 4), np.float32)}, {"y": np.zeros((0, 4), np.float32)}, {"y": np.zeros((0, 4))}
    )
    assert verdict.verdict == "exact"


def test_an_empty_case_among_others_does_not_break_the_floor(true):
    empty = np.zeros((0, 50))
    (verdict,) = judge(
        [{"y": rounded(true)}, {"y": empty.astype(np.float32)}],
        [{"y": rounded(true, seed=1)}, {"y": empty.astype(np.float32)}],
        [{"y": true}, {"y": empty}],
    )
    assert (verdict.verdict, verdict.rule) == ("faithful", "floor")


def test_complex_outputs_are_judged():
    true = RNG.standard_normal((8, 50)) + 1j * RNG.standard_normal((8, 50))
    expected = (rounded(true.real) + 1j * rounded(true.imag)).astype(np.complex64)
    actual = (rounded(true.real, seed=1) + 1j * rounded(true.imag, seed=2)).astype(np.complex64)
    (verdict,) = judge({"y": expected}, {"y": actual}, {"y": true})
    assert (verdict.verdict, verdict.rule) == ("faithful", "floor")
    (verdict,) = judge({"y": expected}, {"y": actual.conj()}, {"y": true})
    assert verdict.verdict == "failed"


def test_a_constant_zero_output_tolerates_nothing():
    zero, tiny = np.zeros(9, np.float32), np.full(9, 1e-3, np.float32)
    (verdict,) = judge({"y": zero}, {"y": tiny}, {"y": zero.astype(float)})
    assert verdict.verdict == "failed"


def test_figures_are_defined_at_zero_and_do_not_overflow():
    figures = measure(np.array([0.0, 0.0, 1e300]), np.array([0.0, 1.0, 1e300]))
    assert (figures.max_abs, figures.max_rel, figures.worst_index) == (1.0, 1.0, (1,))
    assert figures.cosine == pytest.approx(1.0)
    assert figures.sqnr_db > 1000
    assert measure(np.zeros(3), np.zeros(3)).cosine == 1.0


def test_the_smallest_tolerance_is_the_one_that_passes():
    expected, actual = RNG.standard_normal(50), RNG.standard_normal(50)
    needed = measure(expected, actual).smallest_tolerance
    scale = np.sqrt(np.mean(expected**2))
    allowed = (scale + np.abs(expected)) * needed
    assert (np.abs(expected - actual) <= allowed * (1 + 1e-9)).all()
    assert not (np.abs(expected - actual) <= allowed * 0.99).all()


def test_top1_counts_rows_and_forgives_ties():
    expected = np.array([[1.0, 2.0, 0.0], [5.0, 5.0, 0.0], [0.0, 0.0, 1.0]])
    assert measure(expected, expected[:, [0, 1, 2]]).top1 == 1.0
    assert measure(expected, np.array([[1.0, 2, 0], [0, 6.0, 0], [1.0, 0, 0]])).top1 == pytest.approx(2 / 3)


def test_verdicts_survive_json(true):
    verdicts = judge(
        [{"y": rounded(true), "z": np.array([np.inf], np.float32)}],
        [{"y": rounded(true, seed=1), "z": np.array([np.inf], np.float32)}],
        [{"y": true, "z": np.array([np.inf])}],
        names=["batch=8"],
    )
    for verdict in verdicts:
        assert OutputVerdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False))) == verdict


def test_golden_outputs_are_judged_by_the_recorded_floor(true):
    expected = rounded(true)
    entries = [v.to_json() for v in judge({"y": expected}, {"y": rounded(true, seed=1)}, {"y": true})]
    (same,) = judge_golden([{"y": expected}], [{"y": rounded(true, seed=2)}], entries)
    (moved,) = judge_golden([{"y": expected}], [{"y": rounded(true, 2e-5, seed=2)}], entries)
    assert (same.verdict, same.rule, moved.verdict) == ("faithful", "floor", "failed")


def test_golden_outputs_without_a_floor_are_judged_by_what_was_agreed(true):
    expected, far = rounded(true), rounded(true, 1e-3, seed=1)
    loose = [v.to_json() for v in judge({"y": expected}, {"y": far}, tolerance=Tolerance(atol=1.0))]
    assert judge_golden({"y": expected}, {"y": far}, loose)[0].rule == "tolerance"
    assert judge_golden({"y": expected}, {"y": far}, loose)[0].passed
    assert judge_golden({"y": expected}, {"y": far}, [])[0].verdict == "failed"
