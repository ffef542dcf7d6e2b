from __future__ import annotations

import os
import sys
from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xport import proof
from xport.artifact import Proof
from xport.convert.source import open_source
from xport.errors import (
    InputsError,
    MissingRuntimeError,
    UnreadableModelError,
    UnsupportedError,
    UsageError,
    WorkerError,
    XportError,
    XportWarning,
)
from xport.formats import Format
from xport.signature import Signature, TensorSpec
from xport.validate.runners import open_runner
from xport.worker import Worker

NAMED = [Format.ONNX, Format.SAVEDMODEL, Format.TFLITE]  # formats that hold the odd names themselves
TORCH = [Format.TORCHSCRIPT, Format.EXPORTED]
TORCH_NAMES = {"x:0": "x0", "input.1": "input1", "1": "one"}
INPUTS = ("x0:float32[batch,3]", "input1:float32[batch,3]", "one:float32[]")


def open_odd(path, file_format, tf_worker):
    """In process but for TensorFlow, which is in the shared worker."""
    shared = tf_worker if file_format is Format.SAVEDMODEL else None
    inputs = INPUTS if file_format is Format.TORCHSCRIPT else ()
    return open_runner(open_source(path, inputs=inputs), isolated=shared is not None, worker=shared, threads=1)


@pytest.mark.parametrize("file_format", NAMED + TORCH)
def test_runs_at_several_batch_sizes(file_format, odd, odd_model, tf_worker):
    with open_odd(odd_model(file_format), file_format, tf_worker) as runner:
        for batch in (2, 5, 1, 0, 2):
            inputs = odd.inputs(batch)
            given = {TORCH_NAMES[k]: v for k, v in inputs.items()} if file_format in TORCH else inputs
            outputs, expected = runner.run(given), odd.outputs(inputs)
            assert list(outputs) == [spec.name for spec in runner.signature.outputs]
            for name, array in expected.items():
                assert outputs[name].dtype == array.dtype
                assert outputs[name].shape == array.shape
                np.testing.assert_array_equal(outputs[name], array)


@pytest.mark.parametrize("file_format", NAMED)
def test_reports_the_models_own_names_and_dynamic_dimensions(file_format, odd, odd_model, tf_worker):
    with open_odd(odd_model(file_format), file_format, tf_worker) as runner:
        found = {spec.name: spec for spec in runner.signature.inputs + runner.signature.outputs}
    assert set(found) == {"x:0", "input.1", "1", "z", "a"}
    assert found["1"].shape == ()
    assert found["a"].shape == ()
    assert isinstance(found["z"].shape[0], str)
    assert found["input.1"].shape[1] == 3


@pytest.mark.parametrize("file_format", NAMED)
def test_takes_order_and_symbols_from_the_proof(file_format, odd, odd_model, tf_worker):
    path = odd_model(file_format)
    proof.attach(path, file_format, odd.signature, Proof({}, (), {}), [])
    with open_odd(path, file_format, tf_worker) as runner:
        assert runner.signature == odd.signature
        outputs = runner.run(odd.inputs(3))
    assert list(outputs) == ["z", "a"]


def attach_alien(path, file_format, odd):
    """Give a model the proof of another one."""
    alien = Signature(
        tuple(replace(spec, name=spec.name + "_") for spec in odd.signature.inputs), odd.signature.outputs
    )
    proof.attach(path, file_format, alien, Proof({}, (), {}), [])


@pytest.mark.parametrize("file_format", NAMED)
def test_a_proof_of_another_model_is_a_warning(file_format, odd, odd_model, tf_worker):
    path = odd_model(file_format)
    attach_alien(path, file_format, odd)
    shared = tf_worker if file_format is Format.SAVEDMODEL else None
    with pytest.warns(XportWarning, match="not its own"):
        runner = open_runner(path, isolated=shared is not None, worker=shared)
    with runner:
        assert "x:0" in [spec.name for spec in runner.signature.inputs]


@pytest.mark.parametrize("file_format", TORCH)
@pytest.mark.filterwarnings("ignore::xport.errors.XportWarning")
def test_a_proof_of_another_module_leaves_its_inputs_unknown(file_format, odd, odd_model):
    path = odd_model(file_format)
    attach_alien(path, file_format, odd)
    with pytest.raises(UsageError, match="no input named 'x:0_'"):
        open_runner(path, isolated=False)


@pytest.mark.parametrize("file_format", [Format.SAVEDMODEL, Format.TFLITE])
def test_dtypes(file_format, tensorflow_models, tf_worker):
    name = "types" if file_format is Format.SAVEDMODEL else "types.tflite"
    shared = tf_worker if file_format is Format.SAVEDMODEL else None
    with open_runner(tensorflow_models / name, worker=shared) as runner:
        for batch in (3, 0):
            outputs = runner.run(
                {
                    "h": np.full((batch, 3), 1.5, np.float16),
                    "q": np.array(True),
                    "i": np.arange(batch),
                    "bf": np.full((batch, 3), 1.5, ml_dtypes.bfloat16),
                }
            )
            dtypes = {name: array.dtype.name for name, array in outputs.items()}
            assert dtypes == {"h2": "float16", "q2": "bool", "i2": "int64", "bf2": "bfloat16"}
            assert outputs["q2"].shape == ()
            np.testing.assert_array_equal(outputs["bf2"], np.full((batch, 3), 3, ml_dtypes.bfloat16))


def identity_onnx(path, element, shape=("n", 2), kind=None):
    kind = kind or helper.make_tensor_type_proto(element, shape)
    values = [helper.make_value_info(name, kind) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("element", "dtype"),
    [
        (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
        (TensorProto.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn),
        (TensorProto.FLOAT8E5M2, ml_dtypes.float8_e5m2),
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.BOOL, np.bool_),
        (TensorProto.INT64, np.int64),
        (TensorProto.DOUBLE, np.float64),
    ],
)
def test_onnxruntime_dtypes(tmp_path, element, dtype):
    path = identity_onnx(tmp_path / "m.onnx", element)
    with open_runner(path, isolated=False) as runner:
        for batch in (2, 0):
            x = np.arange(batch * 2).reshape(batch, 2).astype(dtype)
            y = runner.run({"x": x})["y"]
            assert y.dtype == x.dtype
            np.testing.assert_array_equal(y, x)


def test_onnxruntime_strings_and_unknown_ranks(tmp_path):
    path = identity_onnx(tmp_path / "m.onnx", TensorProto.STRING, None)
    with open_runner(path, isolated=False) as runner:
        assert runner.signature.inputs == (TensorSpec("x", "string", None),)
        y = runner.run({"x": np.array(["a", "é"], object)})["y"]
    assert list(y) == ["a", "é"]


def test_onnxruntime_refuses_what_is_no_tensor(tmp_path):
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    with pytest.raises(UnsupportedError, match="not a tensor"):
        open_runner(identity_onnx(tmp_path / "m.onnx", None, kind=kind), isolated=False)


def test_onnxruntime_refuses_data_outside_the_folder(tmp_path, other_models):
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "m.onnx"
    model = onnx.load(other_models / "odd.onnx")
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "inner" / "w.bin").rename(tmp_path / "w.bin")
    with pytest.raises(UnreadableModelError, match="not there"):
        open_runner(path, isolated=False)
    (tmp_path / "inner" / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(UnreadableModelError, match="outside its folder"):
        open_runner(path, isolated=False)


def test_telemetry_is_off(tmp_path):
    open_runner(identity_onnx(tmp_path / "m.onnx", TensorProto.FLOAT), isolated=False).close()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_a_tflite_file_without_signatures(tmp_path, tensorflow_models, odd):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((tensorflow_models / "odd.tflite").read_bytes())
    model.signatureDefs = None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    (tmp_path / "m.tflite").write_bytes(builder.Output())
    with open_runner(tmp_path / "m.tflite", isolated=False) as runner:
        names = [spec.name for spec in runner.signature.inputs]
        assert all(name.startswith("serving_default_") for name in names)
        inputs = odd.inputs(4)
        by_suffix = {"x_0:0": "x:0", "input_1:0": "input.1", "arg_1:0": "1"}
        outputs = runner.run({n: inputs[by_suffix[n.removeprefix("serving_default_")]] for n in names})
    assert sorted(array.shape for array in outputs.values()) == [(), (4, 2)]


def test_a_live_module_runs_in_this_process():
    import torch

    module = torch.nn.Linear(3, 2).eval()
    with open_runner(open_source(module, inputs=["input:float32[batch,3]"]), threads=1) as runner:
        assert runner.signature.inputs[0].shape == ("batch", 3)
        y = runner.run({"input": np.ones((4, 3), np.float32)})["output"]
        with torch.no_grad():
            module.bias += 1
        assert np.allclose(runner.run({"input": np.ones((4, 3), np.float32)})["output"], y + 1)


def test_isolated_runners_share_a_worker_and_outputs_are_the_callers(odd, odd_model):
    with Worker() as worker:
        first = open_runner(odd_model(Format.TFLITE), worker=worker)
        second = open_runner(odd_model(Format.ONNX), worker=worker)
        expected = odd.outputs(odd.inputs(2))
        first.run(odd.inputs(2))["z"][:] = 7
        np.testing.assert_array_equal(first.run(odd.inputs(2))["z"], expected["z"])
        first.close()
        first.close()
        np.testing.assert_array_equal(second.run(odd.inputs(2))["z"], expected["z"])
        second.close()


@pytest.mark.parametrize("file_format", [Format.ONNX, Format.TFLITE, Format.TORCHSCRIPT])
def test_the_call_that_is_timed_is_the_one_that_runs(file_format, odd, odd_model, tf_worker, monkeypatch):
    """Without what `run` does around it, and as often as one likes."""
    with open_odd(odd_model(file_format), file_format, tf_worker) as runner:
        inputs = odd.inputs(2)
        given = {TORCH_NAMES[k]: v for k, v in inputs.items()} if file_format in TORCH else inputs
        expected = odd.outputs(inputs)
        monkeypatch.setattr(runner, "run", None)
        with runner.ready(given) as call:
            for _ in range(2):
                found = call()
                arrays = found if isinstance(found, list) else list(found.values())
                names = [spec.name for spec in runner.signature.outputs]
                for name, array in zip(names, arrays, strict=True):
                    np.testing.assert_array_equal(np.asarray(array), expected[name])
        with pytest.raises(InputsError), runner.ready({}):
            pass


@pytest.mark.parametrize("file_format", [Format.ONNX, Format.TFLITE, Format.TORCHSCRIPT])
def test_an_interface_that_is_known_is_not_found_out_again(file_format, odd, odd_model, tf_worker, monkeypatch):
    path = odd_model(file_format)
    with open_odd(path, file_format, tf_worker) as runner:
        known = runner.signature
    for home in ("torch_base:TorchRunner._derived", "onnxruntime_runner:reconcile", "litert:reconcile"):
        module, _, name = home.partition(":")
        monkeypatch.setattr(f"xport.validate.runners.{module}.{name}", None)
    with open_runner(replace(open_source(path), interface=known), isolated=False, threads=1) as runner:
        assert runner.signature is known


def test_the_death_of_a_worker_is_an_error(odd, odd_model):
    runner = open_runner(odd_model(Format.ONNX))
    os.kill(runner.worker.pid, 9)
    with pytest.raises(WorkerError, match="SIGKILL"):
        runner.run(odd.inputs(2))
    runner.close()


def test_wrong_inputs(odd, odd_model):
    with open_runner(odd_model(Format.TFLITE), isolated=False) as runner:
        good = odd.inputs(2)
        with pytest.raises(InputsError, match="missing"):
            runner.run({"x:0": good["x:0"]})
        with pytest.raises(InputsError, match="float64"):
            runner.run({**good, "1": np.array(1.0)})
        with pytest.raises(InputsError, match="shape"):
            runner.run({**good, "input.1": np.ones((2, 4), np.float32)})
        np.testing.assert_array_equal(runner.run(good)["z"], odd.outputs(good)["z"])


def test_a_failure_of_the_runtime_is_an_error_of_ours(odd, odd_model):
    with open_runner(odd_model(Format.ONNX), isolated=False) as runner:
        runner.signature = Signature(
            tuple(replace(s, shape=None) for s in runner.signature.inputs), runner.signature.outputs
        )
        with pytest.raises(XportError, match="ONNX Runtime failed on"):
            runner.run({**odd.inputs(2), "input.1": np.ones((2, 5), np.float32)})


def test_devices_that_are_not_there(odd_model):
    with pytest.raises(UsageError, match="Unknown device"):
        open_runner(odd_model(Format.TFLITE), device="tpu")
    with pytest.raises(UsageError, match="LiteRT does not run on cuda"):
        open_runner(odd_model(Format.TFLITE), device="cuda", isolated=False)


def test_onnxruntime_without_cuda(odd_model):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(UsageError, match="no CUDA device"):
        open_runner(odd_model(Format.ONNX), device="cuda", isolated=False)


def test_torch_without_cuda(odd_model):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UsageError, match="no CUDA device"):
        open_runner(odd_model(Format.EXPORTED), device="cuda", isolated=False)


@pytest.mark.parametrize(
    ("file_format", "module"),
    [
        (Format.ONNX, "onnxruntime"),
        (Format.SAVEDMODEL, "tensorflow"),
        (Format.TFLITE, "ai_edge_litert"),
        (Format.EXPORTED, "torch"),
    ],
)
def test_a_missing_runtime_names_the_pip_command(file_format, module, odd_model, monkeypatch):
    for name in [n for n in sys.modules if n == module or n.startswith(module + ".")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingRuntimeError, match="pip install 'xport-ml"):
        open_runner(odd_model(file_format), isolated=False)


@pytest.mark.parametrize("file_format", [f for f in NAMED + TORCH if f is not Format.SAVEDMODEL])
def test_a_truncated_file(file_format, odd_model):
    path = odd_model(file_format)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableModelError):
        open_runner(path, isolated=file_format is Format.TFLITE)


def test_a_broken_savedmodel(odd_model, tf_worker):
    path = odd_model(Format.SAVEDMODEL)
    (path / "variables" / "variables.index").write_bytes(b"nonsense")
    with pytest.raises(UnreadableModelError, match="TensorFlow cannot open"):
        open_runner(path, worker=tf_worker)
