"""The TensorFlow messages that xport reads and writes without TensorFlow.

They live in a private descriptor pool, so that they can never clash with TensorFlow's own in one process.
Only the fields in use are declared; all others are skipped on reading. Enums are declared as integers,
which is the same on the wire. Sources:
tensorflow/core/framework/{tensor,tensor_shape,node_def,attr_value,function,graph,op_def}.proto,
tensorflow/core/protobuf/{saved_model,meta_graph,struct,saved_object_graph}.proto; names and numbers are theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from xport.signature import DTYPES

_Type = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "int32": _Type.TYPE_INT32,
    "int64": _Type.TYPE_INT64,
    "bool": _Type.TYPE_BOOL,
    "string": _Type.TYPE_STRING,
    "bytes": _Type.TYPE_BYTES,
    "float": _Type.TYPE_FLOAT,
    "double": _Type.TYPE_DOUBLE,
    "uint32": _Type.TYPE_UINT32,
    "uint64": _Type.TYPE_UINT64,
}

# A field is "name type number"; "[]" behind the type repeats it, "{}" makes it the values of a map from
# string.
_FRAMEWORK = {
    "Dim": "size int64 1, name string 2",
    "TensorShapeProto": "dim Dim[] 2, unknown_rank bool 3",
    "TensorProto": "dtype int32 1, tensor_shape TensorShapeProto 2, tensor_content bytes 4,"
    "float_val float[] 5, double_val double[] 6, int_val int32[] 7, string_val bytes[] 8, int64_val int64[] 10,"
    "bool_val bool[] 11, half_val int32[] 13, uint32_val uint32[] 16, uint64_val uint64[] 17",
    "NameAttrList": "name string 1",
    "ListValue": "func NameAttrList[] 9",
    "AttrValue": "list ListValue 1, type int32 6, shape TensorShapeProto 7, tensor TensorProto 8,func NameAttrList 10",
    "NodeDef": "name string 1, op string 2, input string[] 3, attr AttrValue{} 5",
    "OpDef": "name string 1",
    "FunctionDef": "signature OpDef 1, node_def NodeDef[] 3",
    "FunctionDefLibrary": "function FunctionDef[] 1",
    "GraphDef": "node NodeDef[] 1, library FunctionDefLibrary 2",
    "TensorInfo": "name string 1, dtype int32 2, tensor_shape TensorShapeProto 3",
    "SignatureDef": "inputs TensorInfo{} 1, outputs TensorInfo{} 2, method_name string 3",
    "MetaInfoDef": "tags string[] 4, tensorflow_version string 5",
    # What the functions of a SavedModel take, in order (tensorflow/core/protobuf/{struct,saved_object_graph}.proto).
    "TensorSpecProto": "name string 1, shape TensorShapeProto 2, dtype int32 3",
    "StructuredValue": "tensor_spec_value TensorSpecProto 33, list_value Values 51, tuple_value Values 52",
    "Values": "values StructuredValue[] 1",
    "SavedConcreteFunction": "canonicalized_input_signature StructuredValue 3",
    "SavedObjectGraph": "concrete_functions SavedConcreteFunction{} 2",
    "MetaGraphDef": "meta_info_def MetaInfoDef 1, graph_def GraphDef 2, signature_def SignatureDef{} 5,"
    "object_graph_def SavedObjectGraph 7",
    "SavedModel": "saved_model_schema_version int64 1, meta_graphs MetaGraphDef[] 2",
}

_NUMBERS = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "string": 7,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "bfloat16": 14,
    "uint16": 17,
    "complex128": 18,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
    "float8_e5m2": 24,
    "float8_e4m3fn": 25,
    "float8_e4m3fnuz": 26,
    "float8_e5m2fnuz": 28,
    "int4": 29,
    "uint4": 30,
    "int2": 31,
    "uint2": 32,
    "float4_e2m1fn": 33,
}
DATA_TYPES: Mapping[str, int] = {name: _NUMBERS[name] for name in DTYPES if name in _NUMBERS}
"""``tensorflow.DataType`` by the signature's dtype name (tensorflow/core/framework/types.proto)."""
DTYPE_OF_DATA_TYPE: Mapping[int, str] = {number: name for name, number in DATA_TYPES.items()}
"""The signature's dtype name by ``tensorflow.DataType``."""


class Messages:
    """Message classes of one package in a private pool.

    Args:
        package: The package's name.
        messages: The fields of every message, in the notation above.
        base: A package whose messages these fields may name.
    """

    def __init__(self, package: str, messages: Mapping[str, str], base: Messages | None = None) -> None:
        self.pool: Any = base.pool if base else descriptor_pool.DescriptorPool()
        self._package = package
        self._types: dict[str, str] = {
            **(base._types if base else {}),
            **{name: f".{package}.{name}" for name in messages},
        }
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        if base:
            file.dependency.append(f"{base._package}.proto")
        for name, fields in messages.items():
            self._declare(file.message_type.add(name=name), name, filter(None, fields.split(",")))
        self.pool.Add(file)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._types:
            raise AttributeError(name)
        descriptor = self.pool.FindMessageTypeByName(self._types[name][1:])
        return message_factory.GetMessageClass(descriptor)

    def _declare(self, message: Any, path: str, fields: Iterable[str]) -> None:
        for text in fields:
            name, kind, number = text.split()
            base = kind.rstrip("[]{}")
            field = message.field.add(name=name, number=int(number))
            field.label = _Type.LABEL_REPEATED if base != kind else _Type.LABEL_OPTIONAL
            if kind.endswith("{}"):
                # The wire form of a map: repeated entries with key = 1 and value = 2.
                entry = message.nested_type.add(name=_camel(name) + "Entry")
                entry.options.map_entry = True
                self._declare(entry, f"{path}.{entry.name}", ["key string 1", f"value {base} 2"])
                field.type, field.type_name = _Type.TYPE_MESSAGE, f".{self._package}.{path}.{entry.name}"
            elif base in _SCALARS:
                field.type = _SCALARS[base]
            else:
                field.type, field.type_name = _Type.TYPE_MESSAGE, self._types[base]


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


framework = Messages("tensorflow", _FRAMEWORK)
"""The messages of TensorFlow itself."""
