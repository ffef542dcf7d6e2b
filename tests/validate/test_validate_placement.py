"""Where a model ran is taken from the runtime; CUDA is stood in for."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest

from xport.convert.source import open_source
from xport.errors import DeviceError
from xport.validate.matrix import remote
from xport.validate.runners import new_runner, onnxruntime_runner

X = {"x": np.ones((2, 4), np.float32)}


class FakeSession:
    """A session that was asked for CUDA."""

    def __init__(self, providers, assigned):
        self.providers, self.assigned = providers, assigned

    def get_providers(self):
        return self.providers

    def get_provider_graph_assignment_info(self):
        return [
            SimpleNamespace(ep_name=f"{name}ExecutionProvider", get_nodes=lambda n=n: [None] * n)
            for name, n in self.assigned
        ]

    def disable_fallback(self):
        pass

    def get_inputs(self):
        return [SimpleNamespace(name="x", type="tensor(float)", shape=["batch", 4])]

    def get_outputs(self):
        return [SimpleNamespace(name="y", type="tensor(float)", shape=["batch", 3])]


class FakeRuntime:
    """An onnxruntime that was built with CUDA."""

    def __init__(self, session):
        import onnxruntime

        self.session = session
        self.SessionOptions = onnxruntime.SessionOptions
        self.asked = None

    def get_available_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, path, options, *, providers, provider_options):  # noqa: N802
        self.asked = (providers, provider_options)
        return self.session


CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def cuda_runner(tiny, monkeypatch, *session):
    fake = FakeRuntime(FakeSession(*session))
    monkeypatch.setattr(onnxruntime_runner, "require", lambda _: fake)
    return new_runner(open_source(tiny), device="cuda", threads=1), fake


def test_onnxruntime_with_nodes_on_cuda(tiny, monkeypatch):
    runner, fake = cuda_runner(tiny, monkeypatch, [CUDA, CPU], [("CUDA", 9), ("CPU", 2)])
    assert fake.asked == ([CUDA], [{"use_tf32": "0"}])
    found = runner.placement(X)
    assert found.device == "cuda"
    assert "CUDAExecutionProvider 9" in found.evidence


def test_onnxruntime_with_every_node_on_the_cpu_fell_back(tiny, monkeypatch):
    runner, _ = cuda_runner(tiny, monkeypatch, [CUDA, CPU], [("CPU", 11)])
    assert runner.placement(X).device == "cpu"


def test_onnxruntime_without_the_provider_in_use_is_refused(tiny, monkeypatch):
    with pytest.raises(DeviceError, match="no CUDA device"):
        cuda_runner(tiny, monkeypatch, [CPU], [])


def test_onnxruntime_on_the_cpu(tiny):
    found = new_runner(open_source(tiny), device="cpu", threads=1).placement(X)
    assert found.device == "cpu"
    assert "nodes: CPUExecutionProvider 2" in found.evidence


@pytest.mark.parametrize(
    ("homes", "outputs", "device"),
    [
        (["cuda", "cuda"], {"cuda"}, "cuda"),
        (["cpu"], {"cpu"}, "cpu"),
        (["cuda", "cpu"], {"cuda"}, "mixed"),
        (["cuda"], {"cpu"}, "mixed"),
        ([], {"cuda"}, "cuda"),
    ],
)
def test_torch_tells_by_its_tensors(homes, outputs, device):
    from xport.validate.runners.torch_base import TorchRunner

    tensors = [SimpleNamespace(device=SimpleNamespace(type=home)) for home in homes]
    runner = TorchRunner.__new__(TorchRunner)
    runner._module = SimpleNamespace(parameters=lambda: tensors, buffers=list)
    runner._output_devices = outputs
    runner.run = lambda _: None
    assert runner.placement(X).device == device


@pytest.mark.parametrize(("traced", "device"), [(["GPU:0", "CPU:0"], "cuda"), (["CPU:0"], "cpu")])
def test_tensorflow_tells_by_a_trace(traced, device, monkeypatch):
    from xport.validate.runners import savedmodel

    stats = [SimpleNamespace(device=f"/job:localhost/replica:0/task:0/device:{d}", node_stats=[1, 2]) for d in traced]
    stats.append(SimpleNamespace(device="/device:GPU:0/stream:all", node_stats=[1]))
    v1 = SimpleNamespace(
        RunOptions=type("RunOptions", (), {"FULL_TRACE": 3, "__init__": lambda self, trace_level=0: None}),
        RunMetadata=lambda: SimpleNamespace(step_stats=SimpleNamespace(dev_stats=stats)),
    )
    monkeypatch.setattr(savedmodel, "require", lambda _: SimpleNamespace(compat=SimpleNamespace(v1=v1)))
    runner = savedmodel.SavedModelRunner.__new__(savedmodel.SavedModelRunner)
    runner._session = SimpleNamespace(run=lambda *_, **__: None)
    runner._definition_used = SimpleNamespace(inputs={"x": SimpleNamespace(name="x:0")}, outputs={})
    runner.signature = SimpleNamespace(outputs=())
    assert runner.placement(X).device == device


@pytest.mark.parametrize(
    ("outputs", "variables", "device"),
    [(["GPU"], ["GPU"], "cuda"), (["CPU"], ["CPU"], "cpu"), (["GPU"], ["CPU"], "mixed"), (["GPU"], [], "cuda")],
)
def test_keras_tells_by_its_outputs_and_variables(outputs, variables, device):
    from xport.validate.runners.keras_runner import KerasRunner

    def place(kind):
        return f"/job:localhost/replica:0/task:0/device:{kind}:0"

    class FakeTensor(SimpleNamespace):
        def __array__(self, dtype=None, copy=None):
            return np.zeros((2, 3), np.float32)

    runner = KerasRunner.__new__(KerasRunner)
    runner._variables = [SimpleNamespace(value=SimpleNamespace(device=place(kind))) for kind in variables]
    runner._function = lambda *_: {f"y{i}": FakeTensor(device=place(kind)) for i, kind in enumerate(outputs)}
    runner._placed = contextlib.nullcontext
    runner._tf = SimpleNamespace(constant=lambda array: array)
    runner.run = lambda inputs: runner._call(inputs)
    found = runner.placement(X)
    assert found.device == device
    assert "variables" in found.evidence


def test_tensorflow_leaves_memory_of_a_gpu_to_the_others():
    from xport.validate.runners.keras_runner import KerasRunner

    asked = []
    config = SimpleNamespace(
        experimental=SimpleNamespace(
            set_memory_growth=lambda gpu, grow: asked.append((gpu, grow)),
            enable_tensor_float_32_execution=lambda on: asked.append(("tf32", on)),
        ),
        threading=SimpleNamespace(
            set_intra_op_parallelism_threads=lambda n: asked.append(("intra", n)),
            set_inter_op_parallelism_threads=lambda n: asked.append(("inter", n)),
        ),
    )
    runner = KerasRunner.__new__(KerasRunner)
    runner.threads, runner._tf = 3, SimpleNamespace(config=config)
    runner._configure(["gpu0", "gpu1"])
    assert asked == [("gpu0", True), ("gpu1", True), ("tf32", False), ("intra", 3), ("inter", 3)]


def test_torch_moves_a_copy_of_a_live_module():
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(4, 3).eval()
    runner = new_runner(open_source(module, inputs=["input:float32[batch,4]"]), device="cpu", threads=1)
    runner.device = "meta"  # stands for a device that is not this module's
    moved = runner._placed(module)
    assert {p.device.type for p in moved.parameters()} == {"meta"}
    assert {p.device.type for p in module.parameters()} == {"cpu"}


def test_torch_computes_in_full_precision_and_puts_its_settings_back():
    torch = pytest.importorskip("torch")
    seen = []

    class Watch(torch.nn.Module):
        def forward(self, x):
            seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
            return x

    source = open_source(Watch().eval(), inputs=["x:float32[batch,4]"])
    runner = new_runner(source, device="cpu", threads=1)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        seen.clear()
        runner.run({"x": np.ones((2, 4), np.float32)})
        assert seen == [(False, False)]
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("kind", ["torch", "tensorflow"])
def test_a_build_without_cuda_is_refused(kind, monkeypatch, tiny):
    from xport.validate.runners import savedmodel, torch_base

    config = SimpleNamespace(list_physical_devices=lambda _: [])
    fake = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False), config=config)
    module, runner = (torch_base, "TorchRunner") if kind == "torch" else (savedmodel, "SavedModelRunner")
    monkeypatch.setattr(module, "require", lambda _: fake)
    with pytest.raises(DeviceError, match="finds no CUDA device"):
        getattr(module, runner)(open_source(tiny), device="cuda", threads=1)


def test_the_driver_is_asked_for_devices(monkeypatch):
    def get_count(pointer):
        pointer._obj.value = 2
        return 0

    driver = SimpleNamespace(cuInit=lambda _: 0, cuDeviceGetCount=get_count)
    monkeypatch.setattr(remote.ctypes, "CDLL", lambda _: driver)
    assert remote.cuda_devices() == 2
    driver.cuInit = lambda _: 100
    assert remote.cuda_devices() == 0


def test_without_a_driver_there_is_no_device(monkeypatch):
    def refuse(_):
        raise OSError("no such file")

    monkeypatch.setattr(remote.ctypes, "CDLL", refuse)
    assert remote.cuda_devices() == 0
