"""Stands in for `tensorflow_model_server`: takes its flags and no others, reads its files as it does, serves status.

Flags: tensorflow_serving/model_servers/main.cc. The model configuration is read by the official protos; the two
messages that the package tensorflow-serving-api lacks are declared here with their official names and numbers.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

FLAGS = {
    "port",
    "rest_api_port",
    "model_name",
    "model_base_path",
    "model_config_file",
    "enable_batching",
    "batching_parameters_file",
    "monitoring_config_file",
}


def messages():
    """``BatchingParameters`` and ``MonitoringConfig``."""
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append(wrappers.name)
    batching = file.message_type.add(name="BatchingParameters")
    for number, name in enumerate(
        ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"), 1
    ):
        batching.field.add(
            name=name, number=number, label=1, type=field.TYPE_MESSAGE, type_name=".google.protobuf.Int64Value"
        )
    batching.field.add(name="allowed_batch_sizes", number=6, label=3, type=field.TYPE_INT64)
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, label=1, type=field.TYPE_BOOL)
    prometheus.field.add(name="path", number=2, label=1, type=field.TYPE_STRING)
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config",
        number=1,
        label=1,
        type=field.TYPE_MESSAGE,
        type_name=".tensorflow.serving.PrometheusConfig",
    )
    pool.Add(file)
    names = ("BatchingParameters", "MonitoringConfig")
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}")) for name in names]


def parse_flags(words):
    flags = {}
    for word in words:
        match = re.fullmatch(r"--(\w+)=(.*)", word)
        if not match or match[1] not in FLAGS:
            sys.exit(f"unknown argument: {word}")
        if match[1] in flags:
            sys.exit(f"given twice: {word}")
        flags[match[1]] = match[2]
    return flags


def read_models(path):
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    config = text_format.Parse(Path(path).read_text(), ModelServerConfig())
    models = {}
    for model in config.model_config_list.config:
        base = Path(model.base_path)
        if not base.is_absolute():
            sys.exit(f"Expected model {model.name} to have an absolute path, got {model.base_path}")
        if model.model_platform != "tensorflow":
            sys.exit(f"unknown platform {model.model_platform!r}")
        there = sorted(int(p.name) for p in base.iterdir() if p.name.isdigit() and (p / "saved_model.pb").is_file())
        wanted = list(model.model_version_policy.specific.versions) or there[-1:]
        if not wanted or not set(wanted) <= set(there):
            sys.exit(f"No versions of servable {model.name} found under base path {base}")
        models[model.name] = wanted
    return models


def check(flags):
    batching, monitoring = messages()
    if flags.get("enable_batching", "false") == "true":
        found = text_format.Parse(Path(flags["batching_parameters_file"]).read_text(), batching())
        sizes = list(found.allowed_batch_sizes)
        if sizes and sizes[-1] != found.max_batch_size.value:
            sys.exit("Last entry in allowed_batch_sizes must equal max_batch_size")
    elif "batching_parameters_file" in flags:
        sys.exit("You supplied --batching_parameters_file without --enable_batching")
    if "monitoring_config_file" in flags:
        text_format.Parse(Path(flags["monitoring_config_file"]).read_text(), monitoring())
    return read_models(flags["model_config_file"])


def main():
    mode = os.environ.get("STANDIN_MODE", "")
    print("stand-in started with", *sys.argv[1:], flush=True)
    flags = parse_flags(sys.argv[1:])
    models = check(flags)
    if record := os.environ.get("STANDIN_RECORD"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(record).write_text(json.dumps({"argv": sys.argv[1:], "pid": os.getpid(), "child": child.pid}))
    if mode == "die":
        sys.exit("Failed to start server. Error: Unknown: the stand-in was told to die")
    grpc = socket.create_server(("", int(flags["port"])))
    born = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            match = re.fullmatch(r"/v1/models/([^/]+)(?:/versions/(\d+))?", self.path)
            if not match or match[1] not in models or (match[2] and int(match[2]) not in models[match[1]]):
                return self.answer(404, {"error": "Could not find any versions of model"})
            state = "LOADING" if time.monotonic() - born < 0.4 or mode == "hang" else "AVAILABLE"
            state = "END" if mode == "end" else state
            code = "UNKNOWN" if mode == "end" else "OK"
            wanted = [int(match[2])] if match[2] else models[match[1]]
            rows = [
                {"version": str(v), "state": state, "status": {"error_code": code, "error_message": ""}} for v in wanted
            ]
            return self.answer(200, {"model_version_status": rows})

        def answer(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("", int(flags["rest_api_port"])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if mode == "stubborn":
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
        grpc.fileno()


if __name__ == "__main__":
    main()
