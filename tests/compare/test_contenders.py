"""The table of contenders, and what people call them."""

import pytest

from xport.cli.compare import compare
from xport.errors import UsageError
from xport.formats import Format
from xport.validate.comparing.contenders import ALIASES, CONTENDERS, choose, own_contender


def names(chosen):
    return [contender.name for contender in chosen]


def test_all_that_can_be_made_take_part_by_default():
    assert names(choose((), Format.PYTORCH)) == [c.name for c in CONTENDERS if c.makeable]
    assert "keras" in names(choose((), Format.KERAS))  # the source itself
    assert "keras" not in names(choose((), Format.ONNX))


def test_the_source_always_takes_part():
    assert names(choose(("litert", "eager"), Format.ONNX)) == ["eager", "onnx", "litert"]


@pytest.mark.parametrize("name", ["tflite", "LiteRT", " litert"])
def test_other_names_are_understood(name):
    assert names(choose((name,), Format.ONNX)) == ["onnx", "litert"]


def test_aliases_lead_somewhere():
    assert set(ALIASES.values()) <= {contender.name for contender in CONTENDERS}
    assert not set(ALIASES) & {contender.name for contender in CONTENDERS}


def test_a_typing_mistake_is_answered_with_what_was_meant():
    with pytest.raises(UsageError) as caught:
        choose(("tensorflwo",), Format.ONNX)
    assert "Did you mean tensorflow?" in caught.value.fix
    assert "eager,compile,torchscript" in caught.value.fix
    with pytest.raises(UsageError) as caught:
        choose(("qqqq",), Format.ONNX)
    assert "Did you mean" not in caught.value.fix


def test_every_format_that_can_be_a_source_has_a_contender():
    for one in Format:
        if one is not Format.SERVED:
            assert own_contender(one).format is one


def test_the_help_names_them_all():
    option = next(p for p in compare.params if p.name == "contenders")
    assert ", ".join(c.name for c in CONTENDERS if c.makeable) in option.help
