import inspect

import pytest

from xport.convert import api as convert_api
from xport.convert.many import api, plan_text
from xport.convert.many.plan_options import arguments, option_hints
from xport.errors import UsageError
from xport.formats import Format


def listed(checked):
    return {task.name: (task.target, dict(task.options), task.timeout) for task in checked.tasks}


def test_a_plan_is_a_list_of_models_and_targets(plan, models):
    found = api.read(
        plan(
            """
            output: out
            default: {seed: 3, timeout: 60, opset: 18}
            models:
              - source: a.onnx
                to: [onnx, tflite]
              - source: b.onnx
                name: second
                seed: 4
                to:
                  - savedmodel
                  - onnx: {opset: 17, output: deep/b.onnx, timeout: 5}
              - source: zoo:digits_cnn@small
                to: pytorch
            """
        )
    )
    assert found.output == str(models / "out")
    assert listed(found) == {
        "a.onnx": (Format.ONNX, {"seed": 3, "opset": 18}, 60),
        "a.tflite": (Format.TFLITE, {"seed": 3}, 60),
        "second_savedmodel": (Format.SAVEDMODEL, {"seed": 4}, 60),
        "deep/b.onnx": (Format.ONNX, {"seed": 4, "opset": 17}, 5),
        "digits_cnn_pytorch": (Format.PYTORCH, {"seed": 3}, 60),
    }
    assert [task.source for task in found.tasks[:1]] == [str(models / "a.onnx")]


def test_the_command_line_goes_before_the_plan(plan, tmp_path):
    path = plan("output: out\nmodels: [{source: a.onnx, to: onnx}]")
    found = api.read(path, output=tmp_path / "other", timeout=7)
    assert found.output == str(tmp_path / "other")
    assert found.tasks[0].timeout == 7


def test_options_are_those_of_convert(plan):
    keywords = set(inspect.signature(convert_api.convert).parameters)
    assert set(option_hints()) - keywords == {"opset", "optimize", "select_tf_ops"}
    assert {"inputs", "arch", "trust_pickle", "via", "seed", "tolerance", "verify", "input_data"} <= set(option_hints())
    found = api.read(
        plan("models: [{source: a.onnx, to: onnx, inputs: 'x:float32[batch,4]', tolerance: [1e-3, 0], opset: 17}]")
    )
    assert arguments(found.tasks[0].options) == {
        "inputs": ["x:float32[batch,4]"],
        "tolerance": (1e-3, 0),
        "options": {"opset": 17},
    }


def test_paths_in_options_begin_in_the_plans_folder(plan, models, monkeypatch, tmp_path_factory):
    (models / "data.npz").write_bytes(b"x")
    path = plan("models: [{source: a.onnx, to: onnx, input_data: data.npz}]")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert api.read(path).tasks[0].options == {"input_data": str(models / "data.npz")}


MODEL = "models:\n  - source: a.onnx\n    to: onnx\n"

WRONG = {
    "unknown key": ("modles: []", ":1:1: Unknown key 'modles'.", "models"),
    "unknown option": (MODEL + "    opst: 17\n", ":4:5: Unknown key 'opst'.", "opset"),
    "option of the whole run": (MODEL + "    overwrite: true\n", ":4:5: Unknown key", ""),
    "no models": ("default: {}\n", "models", "docs/many.md"),
    "models no list": ("models: a.onnx", ":1:9: 'models' must be a list", ""),
    "model no map": ("models:\n  - a.onnx\n", ":2:5: Expected a map", ""),
    "no source": ("models:\n  - to: onnx\n", ":2:5: Every model needs a 'source'", ""),
    "missing file": ("models:\n  - source: no.onnx\n    to: onnx\n", ":2:13: ", "folder"),
    "missing zoo model": ("models:\n  - source: zoo:no\n    to: onnx\n", ":2:13: There is no zoo model", "zoo:"),
    "no target": ("models:\n  - source: a.onnx\n", ":2:5: 'to' must be", ""),
    "empty targets": ("models:\n  - source: a.onnx\n    to: []\n", ":3:9: 'to' must be", ""),
    "target no name": ("models:\n  - source: a.onnx\n    to: [3]\n", ":3:10: A target must be a format's name", ""),
    "unknown target": (
        "models:\n  - source: a.onnx\n    to: [onnx, tflit]\n",
        ":3:16: Unknown format 'tflit'",
        "tflite",
    ),
    "no route": ("models:\n  - source: a.onnx\n    to: keras\n", ":3:9: No route leads", "Targets are"),
    "unknown step": (MODEL + "    via: nonsense\n", ":3:9: Unknown format 'nonsense'", "onnx"),
    "two in one map": ("models:\n  - source: a.onnx\n    to: [{onnx: , tflite: }]\n", ":3:10: A target with", ""),
    "word for number": (MODEL + "    seed: x\n", ":4:11: seed must be a whole number, not 'x'", ""),
    "number for truth": (MODEL + "    verify: 1\n", ":4:13: verify must be true or false", ""),
    "truth for number": (MODEL + "    seed: true\n", ":4:11: seed must be a whole number", ""),
    "bad tolerance": (MODEL + "    tolerance: [1, 2, 3]\n", ":4:16: tolerance must be", ""),
    "bad spec": (MODEL + "    inputs: ['x:float99[1]']\n", ":4:13: ", ""),
    "bad timeout": (MODEL + "    timeout: -1\n", ":4:14: timeout must be", ""),
    "endless timeout": (MODEL + "    timeout: .nan\n", ":4:14: timeout must be", ""),
    "missing data": (MODEL + "    input_data: no.npz\n", ":4:17: ", "folder"),
    "useless option": ("models:\n  - source: a.onnx\n    to: tflite\n    opset: 17\n", ":4:5: opset means nothing", ""),
    "useless own option": ("models:\n  - source: a.onnx\n    to: {tflite: {opset: 17}}\n", ":3:19: opset means", ""),
    "same place": (MODEL + "  - source: b.onnx\n    name: a\n    to: onnx\n", ":6:9: Two results go to a.onnx", "name"),
    "place inside another": (
        MODEL + "  - source: b.onnx\n    to: {onnx: {output: a.onnx/b.onnx}}\n",
        ":5:9: Two results",
        "name",
    ),
    "place outside": (
        "models:\n  - source: a.onnx\n    to: {onnx: {output: ../a.onnx}}\n",
        ":3:9: 'output'",
        "relative",
    ),
    "place of the records": (
        "models:\n  - source: a.onnx\n    to: {onnx: {output: .xport-many/x}}\n",
        ":3:9: .xport-many is where",
        "another",
    ),
    "over a source": ("output: .\n" + MODEL, ":4:9: The result", "--output"),
    "name with folders": (MODEL + "    name: x/y\n", ":4:11: 'name' must be a plain name", ""),
    "twice": (MODEL + "    to: tflite\n", ":4:5: 'to' is given twice", ""),
    "no word as key": ("1: 2\n", ":1:1: A key must be a word", ""),
    "alias": ("default: &d {seed: 1}\nmodels: [*d]\n", ":2:10: a plan takes no aliases (*d)", "default:"),
    "alias bomb": ("a: &a [x]\n" + "".join(f"b{i}: [*a, *a]\n" for i in range(9)), ":2:6: a plan takes no aliases", ""),
    "tag": ("models: !!python/object/apply:os.system ['true']\n", ":1:9: A plan has no use for", ""),
    "tag of a word": (MODEL + "    name: !!python/name:os.system x\n", ":4:11: A plan has no use for the tag", ""),
    "deep": ("models: " + "[" * 50_000, ":1:24: more than 16 levels", ""),
    "not YAML": ("models:\n  - source: a\n to: onnx\n", ":3:2: this is not YAML", ""),
    "odd number": (MODEL + "    seed: 2026-99-99\n", ":4:11: ", ""),
    "two documents": (MODEL + "---\n" + MODEL, ":4:1: this is not YAML", ""),
    "empty": ("", " is empty", "models:"),
    "zero bytes": ("\0", " is not YAML", ""),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_told_with_its_line(plan, what):
    text, message, fix = WRONG[what]
    with pytest.raises(UsageError) as caught:
        api.read(plan(text))
    assert f"{message}" in caught.value.message
    assert fix in caught.value.fix


def test_a_plan_that_is_no_text_names_the_place_in_words(models):
    with pytest.raises(UsageError, match=r"the plan, models\[0\]\.seed: seed must be a whole number"):
        api.read({"models": [{"source": "a.onnx", "to": "onnx", "seed": "x"}]})


def test_a_file_that_is_no_plan_is_refused(plan, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="cannot be read"):
        api.read(tmp_path / "no.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        api.read(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"models: \xff")
    with pytest.raises(UsageError, match="UTF-8"):
        api.read(tmp_path / "latin.yaml")
    monkeypatch.setattr(plan_text, "LARGEST", 10)
    with pytest.raises(UsageError, match="more than a plan may have"):
        api.read(plan(MODEL))


def test_a_broken_model_is_no_mistake_of_the_plan(plan, models):
    (models / "broken.onnx").write_bytes(b"nothing")
    assert api.read(plan("models: [{source: broken.onnx, to: onnx}]")).tasks[0].name == "broken.onnx"
