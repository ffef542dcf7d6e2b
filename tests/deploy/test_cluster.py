"""Kubernetes and KServe: manifests against the official schemas, offline, and the container beside them."""

from __future__ import annotations

import copy
import json
import os
import zipfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from xport.errors import UsageError
from xport.serve.packaging.api import package
from xport.serve.packaging.kserve import check_inference_service

SCHEMAS = Path(os.environ.get("XPORT_KSERVE_SCHEMAS") or Path(__file__).parents[2].parent / "shared/data")
needs_schemas = pytest.mark.skipif(
    not (SCHEMAS / "kserve-inferenceservice-v1beta1.schema.json").is_file(),
    reason=f"the schemas of KServe's CRDs are not in {SCHEMAS}; XPORT_KSERVE_SCHEMAS names their folder",
)


def manifests(bundle):
    found = [yaml.safe_load(file.read_text()) for file in sorted((bundle.path / "manifests").iterdir())]
    return {document["kind"]: document for document in found}


@pytest.fixture(scope="module")
def on_kubernetes(proven, tmp_path_factory):
    options = {"namespace": "models", "replicas": "2:5", "cpus": "500m", "memory": "1Gi"}
    out = tmp_path_factory.mktemp("k8s") / "bundle"
    return package([f"My_net.v2={proven('onnx')}"], "kubernetes", out, options=options)


@pytest.fixture(scope="module")
def on_kserve(proven, tmp_path_factory):
    out = tmp_path_factory.mktemp("kserve") / "bundle"
    return package([f"net={proven('onnx')}"], "kserve", out, options={"storage_uri": "s3://bucket/net"})


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_takes_every_manifest(version, on_kubernetes):
    found = manifests(on_kubernetes)
    assert set(found) == {"Deployment", "Service", "HorizontalPodAutoscaler"}
    for document in found.values():
        kubernetes_validate.validate(document, version, strict=True)


def test_the_check_would_see_a_mistake(on_kubernetes):
    broken = copy.deepcopy(manifests(on_kubernetes)["Deployment"])
    broken["spec"]["template"]["spec"]["containers"][0]["readOnlyRoot"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_the_parts_fit_together(on_kubernetes):
    found = manifests(on_kubernetes)
    deployment, service, scaler = found["Deployment"], found["Service"], found["HorizontalPodAutoscaler"]
    assert {d["metadata"]["name"] for d in found.values()} == {"my-net-v2"}
    assert {d["metadata"]["namespace"] for d in found.values()} == {"models"}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "my-net-v2"
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)
    assert "replicas" not in deployment["spec"], "or each apply would undo the autoscaler"
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
    assert container["resources"]["requests"] == container["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}


def test_the_pod_may_do_nothing_but_serve(on_kubernetes):
    pod = manifests(on_kubernetes)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    rules = container["securityContext"]
    assert rules["runAsNonRoot"] is True
    assert rules["runAsUser"] > 0
    assert rules["readOnlyRootFilesystem"] is True
    assert rules["allowPrivilegeEscalation"] is False
    assert rules["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"].startswith("/v2/health/")


def test_another_model_gets_another_tag(on_kubernetes, on_kserve):
    images = {
        manifests(on_kubernetes)["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"],
        manifests(on_kserve)["ServingRuntime"]["spec"]["containers"][0]["image"],
    }
    assert len({image.rpartition(":")[2] for image in images}) == 2


@needs_schemas
def test_kserve_takes_every_manifest(on_kserve):
    found = manifests(on_kserve)
    for kind, name in (("InferenceService", "inferenceservice-v1beta1"), ("ServingRuntime", "servingruntime-v1alpha1")):
        schema = json.loads((SCHEMAS / f"kserve-{name}.schema.json").read_text())
        jsonschema.validate(found[kind], schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**found[kind], "spec": {**found[kind]["spec"], "unheardOf": 1}}, schema)


def test_the_service_names_its_runtime(on_kserve):
    found = manifests(on_kserve)
    model = found["InferenceService"]["spec"]["predictor"]["model"]
    runtime = found["ServingRuntime"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["storageUri"] == "s3://bucket/net"
    assert model["modelFormat"] in [
        {key: f[key] for key in ("name", "version")} for f in runtime["spec"]["supportedModelFormats"]
    ]
    (container,) = runtime["spec"]["containers"]
    assert container["name"] == "kserve-container"
    assert container["args"][0] == "{{.Name}}=/mnt/models"
    assert "COPY models" not in (on_kserve.path / "image/Dockerfile").read_text()
    assert (on_kserve.path / "models/net/1/model.onnx").is_file()


def service(**changes):
    predictor = {"model": {"modelFormat": {"name": "onnx"}, "storageUri": "s3://b/p"}, **changes}
    return {"metadata": {"name": "net"}, "spec": {"predictor": predictor}}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (service(pytorch={"storageUri": "s3://b/p"}), "exactly one kind"),
        (service(model=None), "exactly one kind"),
        (service(model={"storageUri": "s3://b/p"}), "no modelFormat"),
        (service(model={"modelFormat": {"name": "onnx"}}), "storage-uri is ''"),
        (service(model={"modelFormat": {"name": "onnx"}, "storageUri": "/home/me"}), "storage-uri is '/home/me'"),
        (service(model={"modelFormat": {"name": "onnx"}, "storageUri": "ftp://b/p"}), "ftp"),
        ({**service(), "metadata": {"name": "2net"}}, "beginning with a letter"),
        (service(minReplicas=3, maxReplicas=2), "larger than"),
    ],
)
def test_what_only_the_webhook_would_refuse(document, words):
    check_inference_service(service())
    with pytest.raises(UsageError, match=words):
        check_inference_service(document)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"replicas": "0:2"}, "--replicas"),
        ({"replicas": "3:2"}, "--replicas"),
        ({"replicas": "many"}, "--replicas"),
        ({"cpus": "two"}, "--cpus"),
        ({"memory": "2 GB"}, "--memory"),
        ({"namespace": "My_Space"}, "--namespace"),
        ({"image": "No Such Image"}, "--image"),
    ],
)
def test_a_size_that_cannot_be_is_told(options, words, proven, tmp_path):
    with pytest.raises(UsageError, match=words):
        package([proven("onnx")], "kubernetes", tmp_path / "out", options=options)
    assert not list(tmp_path.iterdir())


def test_kserve_needs_a_storage(proven, tmp_path):
    with pytest.raises(UsageError, match="--storage-uri") as caught:
        package([proven("onnx")], "kserve", tmp_path / "out")
    assert "s3://bucket/path" in caught.value.fix


def test_the_container_brings_the_code_that_proved_the_model(on_kubernetes):
    (wheel,) = on_kubernetes.path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        listed = {line.split(",")[0] for line in archive.read(record).decode().splitlines()}
    assert listed == names
    assert {"xport/__init__.py", "xport/serve/engines.py", "xport/convert/gate.py", "xport/py.typed"} <= names
    assert "xport/serve/packaging/templates/embedded.Dockerfile.j2" in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_installs_and_runs(on_kubernetes, tmp_path):
    import subprocess
    import sys

    (wheel,) = on_kubernetes.path.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    code = "import xport.serve.engines as e, xport.convert; print(e.__file__)"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("form", "runtime", "foreign"),
    [
        ("onnx", "onnxruntime", "torch"),
        ("tflite", "ai-edge-litert", "torch"),
        ("savedmodel", "tensorflow-cpu", "torch"),
    ],
)
def test_only_the_runtime_of_the_model_is_installed(form, runtime, foreign, proven, tmp_path):
    bundle = package([proven(form)], "embedded", tmp_path / "out")
    names = {line.partition("==")[0] for line in (bundle.path / "requirements.lock").read_text().splitlines()}
    assert runtime in names
    assert foreign not in names
    assert "xport-ml" not in names
    assert {"numpy", "onnx", "click"} <= names
    lines = (bundle.path / "Dockerfile").read_text().splitlines()
    words = {line.split()[0]: line.partition(" ")[2] for line in lines if line and not line.startswith("#")}
    entry = json.loads(words["ENTRYPOINT"])
    name = bundle.names[0]
    assert entry[:5] == ["python3", "-m", "xport", "serve", f"{name}=/bundle/models/{name}"]
    assert entry[entry.index("--host") + 1] == "0.0.0.0"
    assert words["USER"] == "65532:65532"
    assert json.loads(words["HEALTHCHECK"].partition("CMD ")[2])[0] == "python3"
    assert "--mount" not in "\n".join(lines)


def test_one_bundle_one_model(proven, tmp_path):
    with pytest.raises(UsageError, match="holds one model, got 2"):
        package([f"a={proven('onnx')}", f"b={proven('onnx')}"], "embedded", tmp_path / "out")
