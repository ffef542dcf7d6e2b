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

from typing import Any

import numpy as np

from xport.convert.source import Source
from xport.errors import UnreadableModelError, UnsupportedError
from xport.formats import Format
from xport.runtimes import require
from xport.signature import Signature, TensorSpec
from xport.tf_protos import DTYPE_OF_DATA_TYPE
from xport.validate.runners.base import BaseRunner, no_cuda
from xport.validate.runners.interface import reconcile, shape_from

_SERVING_DEFAULT = "serving_default"


class SavedModelRunner(BaseRunner):
    """Runs the default signature of a SavedModel.

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
        # Protobuf maps have no order; the names' own is at least always the same.
        specs = [
            tuple(self._spec(key, table[key]) for key in sorted(table))
            for table in (definition.inputs, definition.outputs)
        ]
        self.signature = reconcile(Signature(*specs), self.path, Format.SAVEDMODEL)
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
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                meta = tf.compat.v1.saved_model.load(session, ["serve"], str(self.path))
        except (RuntimeError, OSError, ValueError, tf.errors.OpError) as error:
            raise self._unreadable(error) from error
        return session, self._definition(meta.signature_def)

    def _definition(self, definitions: Any) -> Any:
        """The signature to run: the default one, or the only one."""
        usable = {key: value for key, value in definitions.items() if not key.startswith("__saved_model")}
        if _SERVING_DEFAULT in usable:
            return usable[_SERVING_DEFAULT]
        if len(usable) == 1:
            return next(iter(usable.values()))
        raise UnreadableModelError(
            f"{self.path} has no signature {_SERVING_DEFAULT!r}; it has {sorted(usable) or 'none'}.",
            "Save it with tf.saved_model.save(model, path, signatures={'serving_default': function}).",
        )

    def _spec(self, name: str, info: Any) -> TensorSpec:
        if info.WhichOneof("encoding") != "name" or info.dtype not in DTYPE_OF_DATA_TYPE:
            raise UnsupportedError(
                f"{self.path}: {name!r} is not a plain tensor.", "Save the model with dense tensors only."
            )
        shape = None
        if not info.tensor_shape.unknown_rank:
            shape = shape_from(name, [dim.size for dim in info.tensor_shape.dim])
        return TensorSpec(name, DTYPE_OF_DATA_TYPE[info.dtype], shape)

    def _call(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = self._function(*inputs.values())
        return dict(zip((spec.name for spec in self.signature.outputs), values, strict=True))

    def close(self) -> None:
        """Free the session and its variables."""
        self._function = None
        self._session.close()
