"""Candidates of lower precision, made from a float32 model as their users make them."""

import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS = 64


def save_convnet(path, *, seed=0):
    """Two convolutions and a classifier of ten, ``image:float32[batch,1,8,8]``, with random weights."""
    rng = np.random.default_rng(seed)

    def weights(*shape):
        fan_in = int(np.prod(shape[1:]))
        return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)

    arrays = {"w1": weights(8, 1, 3, 3), "b1": weights(8, 9), "w2": weights(16, 8, 3, 3), "b2": weights(16, 9)}
    arrays |= {"w3": weights(10, 16 * 16), "b3": weights(10, 9)}
    arrays = {name: array[:, 0] if name.startswith("b") else array for name, array in arrays.items()}
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["a"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "w2", "b2"], ["c"], "conv2", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("Flatten", ["d"], ["e"], "flatten"),
        helper.make_node("Gemm", ["e", "w3", "b3"], ["logits"], "classify", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "convnet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def calibration(name, sizes, scale=1.0):
    """Inputs like the seeded ones of a validation."""
    rng = np.random.default_rng(5)
    return [{name: (scale * rng.standard_normal((1, *sizes))).astype(np.float32)} for _ in range(ROWS)]


def save_narrow(source, path, dtype=TensorProto.FLOAT16):
    """All weights and arithmetic in another float type, inputs and outputs as they were."""
    model = onnx.load(source)
    graph = model.graph
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    for initializer in graph.initializer:
        if initializer.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(initializer).astype(kind)
            initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = dtype
            if attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(kind)))
        node.input[:] = [f"{n}_narrow" if n in {i.name for i in graph.input} else n for n in node.input]
        node.output[:] = [f"{n}_narrow" if n in {o.name for o in graph.output} else n for n in node.output]
    before = [helper.make_node("Cast", [i.name], [f"{i.name}_narrow"], to=dtype) for i in graph.input]
    after = [helper.make_node("Cast", [f"{o.name}_narrow"], [o.name], to=TensorProto.FLOAT) for o in graph.output]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.value_info[:], model.metadata_props[:]
    graph.node.extend(nodes)
    onnx.save(model, path)
    return path


def save_qdq(source, path, name="image", sizes=(1, 8, 8), scale=1.0):
    """Weights and activations in int8 between QuantizeLinear and DequantizeLinear, calibrated on inputs of a scale."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter(calibration(name, sizes, scale))

        def get_next(self):
            return next(self.rows, None)

    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(source, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **kinds)
    return path


def save_dynamic(source, path):
    """Weights in int8, activations quantized as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    del model.graph.value_info[:]  # the quantizer turns weights over and trips over their old shapes
    quantize_dynamic(model, path, weight_type=QuantType.QUInt8)
    return path


_TFLITE = """
import sys
import numpy as np
import tensorflow as tf

folder, path, kind, name, *sizes = sys.argv[1:]
converter = tf.lite.TFLiteConverter.from_saved_model(folder)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
if kind == "float16":
    converter.target_spec.supported_types = [tf.float16]
if kind == "int8":
    rng = np.random.default_rng(5)
    rows = [{name: rng.standard_normal((1, *map(int, sizes))).astype(np.float32)} for _ in range(64)]
    converter.representative_dataset = lambda: iter(rows)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
open(path, "wb").write(converter.convert())
"""


def save_tflite(folder, path, kind, name, sizes):
    """TensorFlow's own ``dynamic`` range, ``float16`` or full ``int8`` quantization, in a process of its own."""
    subprocess.run(
        [sys.executable, "-c", _TFLITE, str(folder), str(path), kind, name, *map(str, sizes)],
        check=True,
        capture_output=True,
    )
    return path


def break_a_scale(source, path, factor=30.0):
    """One activation's scale is wrong, and does not fit the scale of its layer's bias any more."""
    model = onnx.load(source)
    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    victim = quantizers[len(quantizers) // 2].input[1]
    for initializer in model.graph.initializer:
        if initializer.name == victim:
            array = numpy_helper.to_array(initializer) * np.float32(factor)
            initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    onnx.save(model, path)
    return path
