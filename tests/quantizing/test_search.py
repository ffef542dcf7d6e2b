import math

import pytest

from xport.convert.quantizing.search import search

NOISE = {"a": 1e-4, "b": 1e-1, "c": 1e-4, "d": 1e-2, "e": 1e-5}


def power(layers):
    return -10 * math.log10(sum(NOISE[name] for name in layers) or 1e-30)


def left(kept):
    return power([name for name in NOISE if name not in kept])


@pytest.mark.parametrize(("least", "kept"), [(9.0, ()), (15.0, ("b",)), (30.0, ("b", "d")), (39.0, ("b", "d", "a"))])
def test_the_fewest_of_the_most_damaging_layers_stay_in_float(least, kept):
    found = search(list(NOISE), lambda name: power([name]), left, least)
    assert (found.kept, found.reached) == (kept, True)
    assert found.after_db >= least
    assert found.before_db == left(())


def test_leaving_all_in_float_is_no_solution():
    found = search(list(NOISE), lambda name: power([name]), left, 99.0)
    assert not found.reached
    assert len(found.kept) < len(NOISE)
    assert found.after_db == left(found.kept)


def test_damage_is_asked_only_if_something_must_be_left_out():
    def damage(name):
        raise AssertionError("not needed")

    assert search(list(NOISE), damage, left, 5.0).kept == ()


def test_one_layer_cannot_be_left_out():
    assert not search(["b"], lambda name: 0.0, lambda kept: 10.0, 20.0).reached


def test_few_settings_are_measured():
    names = [str(i) for i in range(500)]
    asked = []

    def measure(kept):
        asked.append(len(kept))
        return float(len(kept))

    found = search(names, float, measure, 337.0)
    assert (len(found.kept), found.reached) == (337, True)
    assert len(asked) < 25
