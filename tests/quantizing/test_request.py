import pytest

from xport.convert.quantizing.request import Reduction, asked, check_target
from xport.errors import UnsupportedError, UsageError
from xport.formats import Format


def test_nothing_asked_is_no_reduction():
    assert asked() is None
    assert asked(dtype="float32") is None


@pytest.mark.parametrize("until", ["sqnr=30", "SQNR = 30 dB", "30", 30, 30.0])
def test_thresholds_in_every_writing(until):
    found = asked(quantize="int8", until=until)
    assert found == Reduction("int8", until_db=30.0)
    assert found.least_db == 30.0


def test_a_threshold_never_goes_below_the_table():
    assert asked(quantize="int8", until=3).least_db == 12


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"dtype": "float16", "quantize": "int8"}, "exclude each other"),
        ({"keep_float": ["a"]}, "none is asked for"),
        ({"calibration": "x.npz"}, "none is asked for"),
        ({"quantize": "int4"}, "'int4' is no precision"),
        ({"dtype": "float8"}, "'float8' is no precision"),
        ({"quantize": "dynamic", "calibration": "x.npz"}, "needs no calibration"),
        ({"dtype": "float16", "until": "30"}, "not for float16"),
        ({"quantize": "int8", "until": "psnr=30"}, "no threshold"),
    ],
)
def test_contradictions_are_refused(arguments, told):
    with pytest.raises(UsageError, match=told):
        asked(**arguments)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("int8", Format.SAVEDMODEL),
        ("dynamic", Format.TORCHSCRIPT),
        ("int8", Format.EXPORTED),
        ("float16", Format.PYTORCH),
        ("bfloat16", Format.TFLITE),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_its_reason(kind, target):
    with pytest.raises(UnsupportedError, match=f"makes no {kind} {target.value}: .{{20,}}"):
        check_target(Reduction(kind), target)


def test_a_choice_of_layers_that_a_converter_does_not_offer():
    check_target(Reduction("dynamic"), Format.TFLITE)
    with pytest.raises(UnsupportedError, match="all layers or none"):
        check_target(Reduction("dynamic", keep_float=("a",)), Format.TFLITE)
