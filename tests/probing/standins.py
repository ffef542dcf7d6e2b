"""Small strict servers that speak as Triton, KServe's V1, TF Serving and others do, with their quirks."""

import http.server
import json
import math
import threading
import time

import numpy as np


class StandIn:
    """A server whose ``answer(method, path, headers, body)`` gives status, content type, body and headers."""

    def __init__(self, model):
        self.model, self.seen, self.dead = model, [], False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 2**16  # an answer in one packet

            def _handle(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.seen.append((self.command, self.path))
                found = outer.answer(self.command, self.path, self.headers, body)
                if found is None or outer.dead:
                    self.close_connection = True
                    return
                status, kind, data, *more = found
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                for name, value in (more[0] if more else {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self._handle()

            def do_POST(self):
                self._handle()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.dead = True
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()

    def answer(self, method, path, headers, body):
        raise NotImplementedError


def as_json(status, value, headers=None):
    return status, "application/json", json.dumps(value).encode(), headers or {}


class Triton(StandIn):
    """Triton: V2 only, empty 404s elsewhere, raw tensors, a repository index, max_batch_size as -1."""

    def answer(self, method, path, headers, body):
        if path == "/v2":
            return as_json(
                200, {"name": "triton", "version": "2.51.0", "extensions": ["binary_tensor_data", "sequence"]}
            )
        if (method, path) == ("POST", "/v2/repository/index"):
            return as_json(200, [{"name": "net", "version": "1", "state": "READY"}, {"name": "other", "version": "1"}])
        if not path.startswith("/v2/models/"):
            return 404, "text/plain", b""
        if path.split("/")[3] != "net":
            return as_json(400, {"error": f"Request for unknown model: '{path.split('/')[3]}' is not found"})
        if method == "GET":
            inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}]
            outputs = [{"name": n, "datatype": "FP32", "shape": [-1, 4]} for n in ("y", "z")]
            return as_json(
                200,
                {"name": "net", "versions": ["1"], "platform": "tensorrt_plan", "inputs": inputs, "outputs": outputs},
            )
        return self._infer(headers, body)

    def _infer(self, headers, body):
        length = headers.get("Inference-Header-Content-Length")
        document = json.loads(body[: int(length)] if length else body)
        (row,) = document["inputs"]
        if row["name"] != "x" or row["datatype"] != "FP32" or row["shape"][1:] != [8]:
            return as_json(400, {"error": f"[request id: <id_unknown>] unexpected shape for input '{row['name']}'"})
        if length:
            assert row["parameters"]["binary_data_size"] == len(body) - int(length) == 4 * math.prod(row["shape"])
            x = np.frombuffer(body[int(length) :], "<f4").reshape(row["shape"])
        else:
            x = np.array(row["data"], np.float32).reshape(row["shape"])
        found = self.model({"x": x})
        raw = (document.get("parameters") or {}).get("binary_data_output")
        rows = [{"name": n, "datatype": "FP32", "shape": list(a.shape)} for n, a in found.items()]
        if not raw:
            for entry in rows:
                entry["data"] = [float(v) for v in found[entry["name"]].reshape(-1)]
            return as_json(200, {"model_name": "net", "model_version": "1", "outputs": rows})
        for entry in rows:
            entry["parameters"] = {"binary_data_size": found[entry["name"]].nbytes}
        head = json.dumps({"model_name": "net", "model_version": "1", "outputs": rows}).encode()
        data = head + b"".join(a.astype("<f4").tobytes() for a in found.values())
        return 200, "application/octet-stream", data, {"Inference-Header-Content-Length": str(len(head))}


class KServeV1(StandIn):
    """KServe's V1: ``instances`` only, no metadata, its own status body; writes floats with some digits."""

    digits = None

    def answer(self, method, path, headers, body):
        if (method, path) == ("GET", "/v1/models"):
            return as_json(200, {"models": ["net"]})
        if path == "/v1/models/net" and method == "GET":
            return as_json(200, {"name": "net", "ready": True})
        if path != "/v1/models/net:predict":
            return as_json(404, {"error": "Not Found"})
        document = json.loads(body)
        if set(document) != {"instances"}:
            return as_json(400, {"error": 'Expected "instances" to be a list'})
        found = self.model({"x": np.array(document["instances"], np.float32)})
        rows = [{n: self._written(a[i]) for n, a in found.items()} for i in range(len(found["y"]))]
        return as_json(200, {"predictions": rows})

    def _written(self, row):
        return [float(v) if self.digits is None else float(f"{v:.{self.digits}g}") for v in row]


class TfServing(StandIn):
    """TF Serving: column and row form, no list of models, a map of outputs without order."""

    def answer(self, method, path, headers, body):
        if not path.startswith("/v1/models/"):
            return as_json(400, {"error": f"Malformed request: {method} {path}"})
        if path.split("/")[3].partition(":")[0] != "net":
            return as_json(404, {"error": "Servable not found for request: Latest(foo)"})
        if path == "/v1/models/net":
            status = {"error_code": "OK", "error_message": ""}
            return as_json(200, {"model_version_status": [{"version": "7", "state": "AVAILABLE", "status": status}]})
        if path == "/v1/models/net/metadata":
            shape = {
                n: {"dim": [{"size": s, "name": ""} for s in ("-1", w)], "unknown_rank": False}
                for n, w in (("x", "8"), ("y", "4"), ("z", "4"))
            }
            info = {n: {"dtype": "DT_FLOAT", "tensor_shape": shape[n], "name": f"{n}:0"} for n in shape}
            definition = {
                "inputs": {"x": info["x"]},
                "outputs": {"z": info["z"], "y": info["y"]},
                "method_name": "tensorflow/serving/predict",
            }
            return as_json(
                200,
                {
                    "model_spec": {"name": "net"},
                    "metadata": {"signature_def": {"signature_def": {"serving_default": definition}}},
                },
            )
        document = json.loads(body)
        if "instances" in document:
            found = self.model({"x": np.array(document["instances"], np.float32)})
            rows = [{n: [float(v) for v in a[i]] for n, a in found.items()} for i in range(len(found["y"]))]
            return as_json(200, {"predictions": rows})
        found = self.model({"x": np.array(document["inputs"]["x"], np.float32)})
        return as_json(200, {"outputs": {n: a.astype(float).tolist() for n, a in found.items()}})


class Scripted(StandIn):
    """Answers everything alike."""

    reply = (200, "text/html", b"<!doctype html><title>Welcome</title>")

    def answer(self, method, path, headers, body):
        return self.reply


class Stalling(TfServing):
    """Stands still for everybody, once, for half a second after some requests."""

    lock, count = threading.Lock(), 0

    def answer(self, method, path, headers, body):
        if path.endswith(":predict"):
            with self.lock:
                self.count += 1
                if self.count == 60:
                    time.sleep(0.5)
        return super().answer(method, path, headers, body)


class Failing(TfServing):
    """Says 503 to every fifth prediction."""

    count = 0

    def answer(self, method, path, headers, body):
        if path.endswith(":predict"):
            self.count += 1
            if self.count > 60 and self.count % 5 == 0:
                return as_json(503, {"error": "overloaded"})
        return super().answer(method, path, headers, body)
