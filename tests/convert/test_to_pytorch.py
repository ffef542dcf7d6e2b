"""PyTorch source: readable, importable with torch alone, trainable, and never running text of the model."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import xport
from xport import models
from xport.convert.onnx_signature import read_signature
from xport.convert.torch_source import load_folder
from xport.convert.writing.names import child_name, class_name, identifier
from xport.convert.writing.writer import write, write_source
from xport.errors import UnreadableModelError, UnsupportedError, UntrustedCodeError
from xport.formats import Content, Format, detect

ALONE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("xport", "safetensors"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
import torch
from model import load
model = load()
torch.manual_seed(0)
model.train()
x = torch.rand(4, *INPUT)
wanted = torch.arange(4) % OUTPUT
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), wanted)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0], losses
"""


class Block(nn.Module):
    def __init__(self, width: int, project: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4 if project else width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.project = nn.Conv2d(4, width, 1) if project else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rest = x if self.project is None else self.project(x)
        return torch.relu(self.bn(self.conv(x)) + rest)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(Block(8, True), Block(8, False), Block(8, False))
        self.head = nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(torch.relu(self.stem(image))).mean((2, 3)))


def one_node(kind: str, inputs: dict[str, object], output: tuple[object, ...], **attributes: object) -> onnx.ModelProto:
    """A model of one node; arrays are weights, lists are shapes of inputs."""
    fed = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items() if isinstance(v, list)]
    held = [numpy_helper.from_array(v, k) for k, v in inputs.items() if isinstance(v, np.ndarray)]
    node = helper.make_node(kind, list(inputs), ["y"], name="the node", **attributes)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, list(output))
    graph = helper.make_graph([node], "graph", fed, [out], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def written(model: onnx.ModelProto, tmp_path: Path) -> tuple[nn.Module, str, Path]:
    """The module that the source of a model gives, with its text."""
    file = tmp_path / "model.onnx"
    onnx.save(model, file)
    write(file, tmp_path / "source", read_signature(file))
    return load_folder(tmp_path / "source", trust=True), (tmp_path / "source/model.py").read_text(), file


def assert_same(module: nn.Module, file: Path, *shapes: tuple[int, ...]) -> None:
    session = onnxruntime.InferenceSession(file)
    rng = np.random.default_rng(0)
    for shape in shapes:
        x = rng.standard_normal(shape).astype(np.float32)
        with torch.no_grad():
            found = module(torch.from_numpy(x))
        expected = session.run(None, {session.get_inputs()[0].name: x})[0]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Net, Path]:
    torch.manual_seed(1)
    net = Net().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    folder = tmp_path_factory.mktemp("source") / "net"
    artifact = xport.convert(net, to="pytorch", output=folder, inputs=["image:float32[batch,3,8,8]"])
    assert artifact.proof is not None
    assert artifact.proof.verified
    return net, folder


def test_the_weights_have_the_names_of_the_original(converted: tuple[Net, Path]) -> None:
    net, folder = converted
    found = load_folder(folder, trust=True)
    assert dict(found.named_parameters()).keys() == dict(net.named_parameters()).keys()
    assert found.state_dict().keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(found.state_dict()[name], tensor)


def test_blocks_that_are_alike_share_a_class_and_layers_are_layers(converted: tuple[Net, Path]) -> None:
    text = (converted[1] / "model.py").read_text()
    classes = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    assert classes == ["Block", "Net"]
    for line in (
        "nn.BatchNorm2d(",
        "nn.Sequential(",
        "self.head = nn.Linear(8, 5)",
        "def forward(self, image: Tensor)",
    ):
        assert line in text
    assert max(map(len, text.splitlines())) <= 120


def test_it_runs_at_a_size_that_nobody_tried(converted: tuple[Net, Path]) -> None:
    net, folder = converted
    x = torch.rand(7, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(load_folder(folder, trust=True)(x), net(x))


def test_it_is_trained_with_torch_alone(converted: tuple[Net, Path], tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(ALONE.replace("INPUT", "(3, 8, 8)").replace("OUTPUT", "5"))
    environment = {**os.environ, "PYTHONPATH": str(converted[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_opening_it_needs_consent_in_every_way(converted: tuple[Net, Path]) -> None:
    folder = converted[1]
    assert detect(folder) is Content.TORCH_SOURCE
    for use in (lambda: xport.load(folder), lambda: xport.verify(folder), lambda: xport.convert(folder, to="onnx")):
        with pytest.raises(UntrustedCodeError, match=r"model\.py"):
            use()
    assert xport.verify(folder, trust_pickle=True).passed
    with xport.load(folder, trust_pickle=True) as model:
        assert model.format is Format.PYTORCH
        assert [spec.name for spec in model.signature.inputs] == ["image"]
        assert model({"image": np.zeros((3, 3, 8, 8), np.float32)})[model.signature.outputs[0].name].shape == (3, 5)


def test_it_is_inspected_without_being_run(converted: tuple[Net, Path]) -> None:
    found = xport.inspect(converted[1])
    assert found.signature is not None
    assert found.proof is not None
    assert found.golden_cases > 0
    assert any("not run" in note for note in found.notes)


def test_code_that_gives_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    for code, words in (("def load(path): return 1", "gave a int"), ("1/0", "ZeroDivisionError")):
        (tmp_path / "model.py").write_text(code)
        with pytest.raises(UnreadableModelError, match=words):
            load_folder(tmp_path, trust=True)
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize(
    "name", ["__import__('os').abort()", "class", "a'\"\\\n#", "größe 模型", "self", "0", "", "torch", "\u2028x"]
)
def test_names_of_the_model_never_become_code(name: str, tmp_path: Path) -> None:
    weight = np.eye(3, dtype=np.float32)
    nodes = [
        helper.make_node("Add", [name or "x", f"{name}.weight"], [f"{name}/h"], name=f"/{name}/{name}.0/Add"),
        helper.make_node("MatMul", [f"{name}/h", f"{name}.{name}.weight"], [f"{name}/out"], name=name),
    ]
    nodes[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=repr(["", name, f"{name}.0", "add"]))
    nodes[0].metadata_props.add(key="pkg.torch.onnx.class_hierarchy", value=repr(["M", name, name, "aten"]))
    held = [numpy_helper.from_array(weight, f"{name}.weight"), numpy_helper.from_array(weight, f"{name}.{name}.weight")]
    fed = helper.make_tensor_value_info(name or "x", TensorProto.FLOAT, [f"{name}_batch", 3])
    out = helper.make_tensor_value_info(f"{name}/out", TensorProto.FLOAT, [f"{name}_batch", 3])
    fixed = helper.make_graph(nodes, "graph", [fed], [out], held)
    fed.type.tensor_type.shape.dim[0].dim_value = out.type.tensor_type.shape.dim[0].dim_value = 3
    fixed.input[0].CopyFrom(fed)
    fixed.output[0].CopyFrom(out)
    model = helper.make_model(fixed, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    module, text, file = written(model, tmp_path)
    tree = ast.parse(text)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not {n for n in names if n.startswith("__") and n not in ("__init__", "__file__")}
    assert "os" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not calls & {"__import__", "eval", "exec"}
    x = torch.rand(3, 3)
    expected = onnxruntime.InferenceSession(file).run(None, {name or "x": x.numpy()})[0]
    torch.testing.assert_close(module(x).detach(), torch.from_numpy(expected))


def test_identifiers() -> None:
    assert identifier("a.b-c") == "a_b_c"
    assert identifier("__import__") == "import_"
    assert identifier("lambda") == "lambda_"
    assert child_name("forward") == "forward_"
    assert child_name("training") == "training_"
    assert child_name("3") == "3"
    assert class_name("encoder_layer") == "EncoderLayer"


def test_the_same_model_gives_the_same_text(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    onnx.save(
        one_node(
            "Conv", {"x": ["n", 2, 6, 6], "block.0.conv.weight": np.ones((3, 2, 3, 3), np.float32)}, ("n", 3, 4, 4)
        ),
        file,
    )
    first, second = (write_source(file, read_signature(file))[0] for _ in range(2))
    assert first == second


def test_every_operator_without_a_form_is_named_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["a"], name="first"),
        helper.make_node("Bernoulli", ["a"], ["b"], name="second"),
        helper.make_node("RandomUniformLike", ["b"], ["y"], name="third"),
    ]
    fed, out = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
    file = tmp_path / "m.onnx"
    graph = helper.make_graph(nodes, "graph", [fed], [out])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    with pytest.raises(UnsupportedError) as caught:
        write_source(file, read_signature(file))
    for words in ("RandomNormalLike", "first", "RandomUniformLike", "third"):
        assert words in str(caught.value)


RNG = np.random.default_rng(0)
IMAGE = {"x": ["n", 2, 7, 7]}
FILTERS = RNG.random((3, 2, 3, 3), np.float32)
SCALE = {"w": RNG.random(6, np.float32), "b": RNG.random(6, np.float32)}
CASES = {
    "uneven padding": ("Conv", {**IMAGE, "w": FILTERS}, {"pads": [1, 0, 2, 1]}),
    "same upper": ("Conv", {"x": ["n", 2, 8, 8], "w": FILTERS}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "transposed": (
        "ConvTranspose",
        {"x": ["n", 2, 5, 5], "w": RNG.random((2, 3, 3, 3), np.float32)},
        {"strides": [2, 2], "pads": [1, 0, 0, 1]},
    ),
    "mean with padding": (
        "AveragePool",
        IMAGE,
        {"kernel_shape": [3, 3], "pads": [0, 1, 1, 1], "strides": [2, 2]},
    ),
    "last axis first": ("Transpose", {"x": ["n", 2, 3, 4]}, {"perm": [3, 0, 1, 2]}),
    "sums": ("CumSum", {"x": ["n", 5], "axis": np.array(1)}, {"exclusive": 1, "reverse": 1}),
    "normalised": ("LayerNormalization", {"x": ["n", 4, 6], **SCALE}, {"axis": -1}),
    "gated": ("HardSwish", {"x": ["n", 4]}, {}),
    "from the end": ("GatherElements", {"x": ["n", 4], "i": np.array([[-1, 0, -2, 1]])}, {"axis": 0}),
    "reflected": ("Pad", {"x": ["n", 2, 5, 5], "p": np.array([0, 0, 1, 2, 0, 0, 2, 1])}, {"mode": "reflect"}),
    "reflected_waves": ("Pad", {"x": ["n", 9], "p": np.array([0, 3, 0, 2])}, {"mode": "reflect"}),
    "repeated_rows": ("Pad", {"x": ["n", 4, 5], "p": np.array([0, 1, 0, 0, 2, 3])}, {"mode": "edge"}),
    "repeated_everywhere": ("Pad", {"x": ["n", 4], "p": np.array([1, 2, 0, 1])}, {"mode": "edge"}),
    "blocks": ("DepthToSpace", {"x": ["n", 8, 3, 5]}, {"blocksize": 2}),
    "columns": (
        "Col2Im",
        {"x": ["n", 12, 9], "i": np.array([5, 5]), "b": np.array([2, 3])},
        {"dilations": [2, 1], "pads": [0, 0, 0, 0]},
    ),
    "spectra": (
        "STFT",
        {"x": ["n", 40, 1], "step": np.array(4), "w": RNG.random(16, np.float32)},
        {"onesided": 1},
    ),
    "formula": ("Einsum", {"x": ["n", 3, 4], "w": RNG.random((4, 5), np.float32)}, {"equation": "bij,jk->bik"}),
}


@pytest.mark.parametrize("case", CASES)
def test_operators_give_the_same_numbers(case: str, tmp_path: Path) -> None:
    kind, inputs, attributes = CASES[case]
    shape = next(v for v in inputs.values() if isinstance(v, list))
    model = one_node(kind, inputs, (None,) * len(shape), **attributes)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    module, _, file = written(model, tmp_path)
    assert_same(module, file, *[(n, *shape[1:]) for n in (2, 3)])


def train_once(module: nn.Module, inputs: dict[str, np.ndarray]) -> tuple[float, float]:
    """The sum of squares of the first floating-point output, before and after one step against its gradient."""
    tensors = [torch.from_numpy(array) for array in inputs.values()]

    def loss() -> torch.Tensor:
        found = module(*tensors)
        found = found if isinstance(found, tuple) else (found,)
        return next(t for t in found if t.is_floating_point()).square().mean()

    before = loss()
    before.backward()
    with torch.no_grad():
        gradients = [p for p in module.parameters() if p.grad is not None]
        norm = torch.stack([p.grad.square().sum() for p in gradients if p.grad is not None]).sum().sqrt()
        for parameter in gradients:
            parameter -= 1e-3 * parameter.grad / norm
        return before.item(), loss().item()


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_zoo_model_becomes_source(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    artifact = xport.convert(f"zoo:{name}@small", to="pytorch", output=folder)
    assert artifact.proof is not None
    assert artifact.proof.verified
    zoo = models.build(name)
    sizes = {"batch": 5, "sequence": 11, "source": 9, "target": 6, "height": 48, "width": 64}
    inputs = zoo.example_inputs(sizes, seed=7)
    with xport.load(folder, trust_pickle=True) as found, xport.load(f"zoo:{name}@small") as source:
        for key, want in source(inputs).items():
            np.testing.assert_allclose(found(inputs)[key], want, rtol=1e-3, atol=1e-4)
    module = load_folder(folder, trust=True)
    before, after = train_once(module, inputs)
    assert after < before
    if name in ("resnet50", "bert", "vit", "densenet121", "mobilenet_v2"):
        assert dict(module.named_parameters()).keys() == dict(zoo.module.named_parameters()).keys()
