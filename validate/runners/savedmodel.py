"""TensorFlow SavedModels, run as TF Serving runs them: by the tensors that the SignatureDef names.

``tf.saved_model.load(path).signatures["serving_default"]`` knows a model's inputs by the argument names of
the Python function it was made from, which must be identifiers: ``input.1`` is refused or renamed. The
SignatureDef in ``saved_model.pb`` has no such limit, and its keys are what TF Serving's clients use. So the
graph is loaded into a session and fed by tensor name, whatever the keys are. Threads and device belong to
the session, too.
Sources: tensorflow/cc/saved_model/loader.cc; tensorflow_serving/servables/tensorflow/predict_util.cc;
tensorflow/core/function/polymorphism/function_type.py, ``sanitize_arg_name``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from xport.convert.savedmodel_signature import choose, read_signature
from xport.convert.source import Source
from xport.convert.symbols import named_after
from xport.runtimes import require
from xport.validate.runners.base import BaseRunner, Placement, no_cuda

# "/job:localhost/replica:0/task:0/device:GPU:0"; its streams are listed beside it with more behind.
_DEVICE = re.compile(r"device:(CPU|GPU):\d+$", re.IGNORECASE)
_KINDS = {"cpu": "cpu", "gpu": "cuda"}


class SavedModelRunner(BaseRunner):
    """Runs one signature of a SavedModel.

    TensorFlow sizes its thread pools when the first session of a process is made: ``threads`` is certain
    only in a process of the runner's own.
    """

    runtime = "TensorFlow"

    def __init__(self, source: Source, *, device: str, threads: int | None) -> None:
        super().__init__(source, device=device, threads=threads)
        tf = require("tensorflow")
        if device == "cuda" and not tf.config.list_physical_devices("GPU"):
            raise no_cuda(self.runtime)
        if device == "cuda":
            # TF32 keeps ten bits of a float32's 23: fine to use, but not to compare with.
            tf.config.experimental.enable_tensor_float_32_execution(False)
        self._session, definition = self._open(tf)
        self._definition_used = definition
        self.signature = source.interface or named_after(
            read_signature(self.path, source.signature_name), source.inputs
        )
        self._function: Any = self._session.make_callable(
            [definition.outputs[spec.name].name for spec in self.signature.outputs],
            feed_list=[definition.inputs[spec.name].name for spec in self.signature.inputs],
        )

    def _open(self, tf: Any) -> tuple[Any, Any]:
        threads = self.threads or 0
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads,
            inter_op_parallelism_threads=threads,
            device_count={"GPU": 0} if self.device == "cpu" else {},
            allow_soft_placement=True,  # string and shape operators exist on the CPU only
        )
        config.gpu_options.allow_growth = True  # other runtimes' processes need memory, too
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                meta = tf.compat.v1.saved_model.load(session, ["serve"], str(self.path))
        except (RuntimeError, OSError, ValueError, tf.errors.OpError) as error:
            raise self._unreadable(error) from error
        return session, meta.signature_def[choose(self.path, meta.signature_def, self.source.signature_name)]

    def _call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = self._function(*inputs.values())
        return dict(zip((spec.name for spec in self.signature.outputs), values, strict=True))

    def placement(self, inputs: Mapping[str, np.ndarray]) -> Placement:
        """The devices of the nodes of a traced run; shape arithmetic and strings on the CPU are no fallback."""
        tf = require("tensorflow")
        options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
        trace = tf.compat.v1.RunMetadata()
        self._session.run(
            [self._definition_used.outputs[spec.name].name for spec in self.signature.outputs],
            {self._definition_used.inputs[name].name: array for name, array in inputs.items()},
            options=options,
            run_metadata=trace,
        )
        counts: Counter[str] = Counter()
        for device in trace.step_stats.dev_stats:
            found = _DEVICE.search(device.device)
            if found is not None:
                counts[_KINDS[found[1].lower()]] += len(device.node_stats)
        device = "cuda" if counts["cuda"] else "cpu"
        return Placement(device, "traced nodes: " + ", ".join(f"{k} {n}" for k, n in counts.most_common()))

    def close(self) -> None:
        """Free the session and its variables."""
        self._function = None
        self._session.close()
