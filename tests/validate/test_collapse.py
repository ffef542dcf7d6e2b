import numpy as np
import pytest

from xport.validate.collapse import collapse
from xport.validate.golden_loss import by_recorded_loss
from xport.validate.losses import Answer, _unlikely, judge_loss
from xport.validate.parity import judge, judge_golden
from xport.validate.precision import Precision

RNG = np.random.default_rng(0)


def scores(rows, classes=4, favourite=None):
    """Rows of scores, the classes in turn, each clear."""
    values = RNG.standard_normal((rows, classes)) * 0.1
    values[np.arange(rows), np.arange(rows) % classes] += 3
    if favourite is not None:
        values[:, favourite] += 9
    return values


def test_a_class_that_is_never_predicted_any_more():
    wanted = scores(40)
    silent = wanted.copy()
    silent[:, 2] -= 9
    assert "Class 2 is never predicted any more" in collapse([wanted], [silent], 0.1, _unlikely)
    assert not collapse([wanted], [wanted + 0.01], 0.1, _unlikely)


def test_a_rare_class_may_be_missed_by_chance():
    wanted = scores(40, 3)
    wanted[0] = [0, 0, 9]
    wanted[1:, 2] = -9
    found = wanted.copy()
    found[0] = [9.5, 0, 9]
    assert not collapse([wanted], [found], 0.1, _unlikely)


def test_one_answer_to_everything():
    wanted = 0.5 + 0.001 * RNG.standard_normal((8, 3, 5))  # 54 dB are left
    assert "one and the same answer to all 8" in collapse([wanted], [np.full_like(wanted, 0.5)], 0.1, _unlikely)
    assert not collapse([np.full_like(wanted, 0.5)], [np.full_like(wanted, 0.5)], 0.1, _unlikely)


def test_the_verdict_fails_where_enough_decibels_are_left():
    wanted = scores(400, 4) + 50  # all classes share a large offset
    silent = wanted.copy()
    silent[:, 2] = 0
    base = judge({"y": wanted.astype(np.float32)}, {"y": silent.astype(np.float32)})
    (found,) = judge_loss(base, [Answer({"y": wanted}, {"y": silent})], Precision("int8"), least_db=0.5, least_top1=0.7)
    assert found.verdict == "failed"
    assert "collapsed" in found.reason


@pytest.mark.parametrize(("noise", "passes"), [(0.01, True), (0.03, False), (1.0, False)])
def test_golden_outputs_are_judged_as_the_proof_was(noise, passes):
    wanted = scores(64).astype(np.float32)
    made = (wanted + 0.01 * RNG.standard_normal(wanted.shape)).astype(np.float32)
    answers = [Answer({"y": wanted}, {"y": made})]
    (proven,) = judge_loss(judge({"y": wanted}, {"y": made}), answers, Precision("int8"))
    now = (wanted + noise * RNG.standard_normal(wanted.shape)).astype(np.float32)
    (found,) = judge_golden([{"y": wanted}], [{"y": now}], [proven.to_json()])
    assert (found.rule, found.passed) == ("loss", passes)
    assert by_recorded_loss(found, proven.loss, [{"y": wanted}], [{"y": made}]).passed
