import numpy as np
import pytest

from xport.convert import expectation as expectation_module
from xport.convert import gate
from xport.convert.expectation import Expectation, expect
from xport.convert.gate import compare_interfaces, prove
from xport.convert.source import Source
from xport.errors import ConversionError, InputsError, MissingRuntimeError, XportError
from xport.formats import Content, Format
from xport.signature import Signature, TensorSpec
from xport.validate.inputs import cases
from xport.validate.verdicts import Tolerance


def signature(inputs=("x:float32[batch,4]",), outputs=("y:float32[batch,4]",)):
    return Signature(tuple(map(TensorSpec.parse, inputs)), tuple(map(TensorSpec.parse, outputs)))


class FakeRunner:
    """Runs a function instead of a model."""

    def __init__(self, function, sig=None):
        self.function, self.signature = function, sig or signature()

    def run(self, inputs):
        return {"y": self.function(inputs["x"])}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def squared(x):
    return np.square(x)


@pytest.fixture
def answers():
    sig = signature()
    drawn = cases(sig)
    wide = [{"y": np.square(c.inputs["x"].astype(np.float64))} for c in drawn]
    return Expectation(sig, tuple(drawn), tuple({"y": squared(c.inputs["x"])} for c in drawn), tuple(wide))


def run_gate(monkeypatch, answers, function, sig=None, **arguments):
    monkeypatch.setattr(gate, "as_source", lambda *_: None)
    monkeypatch.setattr(gate, "open_runner", lambda *_, **__: FakeRunner(function, sig))
    return prove(answers, None, Format.ONNX, **arguments)


def test_a_faithful_result_passes(monkeypatch, answers):
    found = run_gate(monkeypatch, answers, lambda x: np.square(x.astype(np.float64)).astype(np.float32))
    assert found.passed
    assert [name for name, _, _ in found.verdicts[0].cases] == ["batch=2", "batch=3", "batch=1"]


def test_a_wrong_result_fails_and_the_error_says_what_was_measured(monkeypatch, answers):
    found = run_gate(monkeypatch, answers, lambda x: np.square(x) * np.float32(1.0001))
    assert not found.passed
    assert found.error().exit_code == 3
    for word in ("y:", "rounding floor", "Worst in case", "expected", "tolerance"):
        assert word in found.error().message


def test_the_users_limits_replace_the_floor(monkeypatch, answers):
    found = run_gate(monkeypatch, answers, lambda x: np.square(x) * np.float32(1.0001), tolerance=Tolerance(rtol=1e-3))
    assert found.passed


def test_a_result_that_runs_at_one_batch_size_only_fails(monkeypatch, answers):
    def picky(x):
        if len(x) != 2:
            raise XportError("Expected a batch of 2.")
        return squared(x)

    found = run_gate(monkeypatch, answers, picky)
    assert "batch=3" in found.error().message


def test_a_result_that_cannot_be_opened_fails(monkeypatch, answers):
    def refuse(*_, **__):
        raise XportError("It is broken.")

    monkeypatch.setattr(gate, "as_source", lambda *_: None)
    monkeypatch.setattr(gate, "open_runner", refuse)
    assert "It is broken." in prove(answers, None, Format.TFLITE).error().message


def test_a_missing_runtime_is_no_verdict(monkeypatch, answers):
    def refuse(*_, **__):
        raise MissingRuntimeError("tensorflow is not installed.")

    monkeypatch.setattr(gate, "as_source", lambda *_: None)
    monkeypatch.setattr(gate, "open_runner", refuse)
    with pytest.raises(MissingRuntimeError):
        prove(answers, None, Format.SAVEDMODEL)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        (("z:float32[batch,4]",), ("y:float32[batch,4]",), "inputs are z, expected x"),
        (("x:float64[batch,4]",), ("y:float32[batch,4]",), "dtype float64"),
        (("x:float32[2,4]",), ("y:float32[batch,4]",), "another shape"),
        (("x:float32[batch,4,1]",), ("y:float32[batch,4]",), "another shape"),
        (("x:float32[batch,n]",), ("y:float32[batch,4]",), "another shape"),
        (("x:float32[batch,4]",), ("y:float32[batch,5]",), "another shape"),
        (("x:float32[batch,4]",), (), "outputs are none, expected y"),
    ],
)
def test_a_changed_interface_is_told(inputs, outputs, words):
    (problem,) = compare_interfaces(signature(), signature(inputs, outputs))
    assert words in problem


def test_names_of_symbols_and_open_output_sizes_may_differ():
    assert compare_interfaces(signature(), signature(("x:float32[n,4]",), ("y:float32[a,b]",))) == []
    loose = signature(outputs=("y:float32[rows,4]",))  # declared without a word on where it comes from
    assert compare_interfaces(loose, signature(outputs=("y:float32[2,4]",))) == []
    assert compare_interfaces(signature(), signature(outputs=("y:float32[2,4]",))) != []
    two = signature(("a:float32[]", "b:float32[]"))
    assert compare_interfaces(two, signature(("b:float32[]", "a:float32[]"))) != []


class FakeWorkers:
    def get(self, _):
        return None

    def replace(self, _):
        return None


@pytest.fixture
def source(monkeypatch, tmp_path):
    monkeypatch.setattr(expectation_module, "reference64", lambda *_, **__: None)
    return Source(Format.ONNX, Content.ONNX, tmp_path / "m.onnx")


def expect_from(monkeypatch, source, function, sig=None, **arguments):
    monkeypatch.setattr(expectation_module, "open_runner", lambda *_, **__: FakeRunner(function, sig))
    return expect(source, sig or signature(), FakeWorkers(), **arguments)


def test_the_source_is_run_at_two_batch_sizes_and_on_the_users_inputs(monkeypatch, source):
    mine = {"x": np.ones((5, 4), np.float32)}
    found = expect_from(monkeypatch, source, squared, user_inputs=mine)
    assert [c.name for c in found.cases] == ["batch=2", "batch=3", "batch=1", "your inputs"]
    assert found.cases[-1].sizes == {"batch": 5}
    assert "float64" in found.no_reference


def test_sizes_that_the_source_refuses_give_way(monkeypatch, source):
    sig = signature(("x:float32[batch,time]",), ("y:float32[batch,time]",))

    def short_only(x):
        if x.shape[1] > 8:
            raise XportError("The position table has 8 rows.")
        return squared(x)

    found = expect_from(monkeypatch, source, short_only, sig)
    assert len({c.sizes["time"] for c in found.cases}) >= 2


def test_a_batch_of_one_is_left_out_if_the_source_refuses_it(monkeypatch, source):
    def many(x):
        if len(x) == 1:
            raise XportError("Batch norm in training mode wants more.")
        return squared(x)

    assert [c.sizes["batch"] for c in expect_from(monkeypatch, source, many).cases] == [2, 3]


def test_a_source_that_never_runs_is_told(monkeypatch, source):
    def never(_):
        raise XportError("Boom.")

    with pytest.raises(ConversionError, match="Boom"):
        expect_from(monkeypatch, source, never)


def test_a_source_that_refuses_the_users_inputs_is_told(monkeypatch, source):
    def small(x):
        if len(x) > 4:
            raise XportError("Too many.")
        return squared(x)

    with pytest.raises(InputsError, match="Too many"):
        expect_from(monkeypatch, source, small, user_inputs={"x": np.ones((5, 4), np.float32)})


def test_a_random_source_is_told(monkeypatch, source):
    rng = np.random.default_rng(0)
    with pytest.raises(ConversionError, match="random by itself"):
        expect_from(monkeypatch, source, lambda x: rng.standard_normal(x.shape).astype(np.float32))
