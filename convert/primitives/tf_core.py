"""TensorFlow's side of what the interpreter needs: constants, shapes, reshapes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2

from xport.convert.lowering.registry import refuse
from xport.convert.lowering.target import Target
from xport.convert.lowering.values import Dim, HostVector, divide, factors, product, scalar_of
from xport.convert.primitives.narrow_types import carry

VARIABLE_BYTES = 1024
"""Known arrays of at least this size become Variables, which SavedModel stores without protobuf's 2 GB limit."""

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
"""The operations that call a function."""

RECORD = "_xport_onnx"
"""The attribute of such an operation that says which ONNX operator the function is."""

_MOVED = ("float32", "int32", "int64", "string")
"""What TFLite's kernels that only move elements all take."""

TRANSPOSE_RANK = 6
"""TFLite's Transpose takes tensors up to this rank."""

_MOVED_AS_BITS = {"float64": "int64", "uint64": "int64", "uint32": "int32"}
_MOVED_WIDER = dict.fromkeys(("bool", "int8", "uint8", "int16", "uint16"), "int32") | {"float16": "float32"}


class TfCore(Target):
    """See `Target`; tensors are symbolic inside a `tf.function` being traced and eager under `eager`."""

    name = "tensorflow"
    channels_last = True
    keeps_weights = False

    def __init__(self, flavor: str = "", *, integers: bool = False) -> None:
        self.flavor = flavor
        self.integers = integers
        self.variables: dict[str, tf.Variable] = {}
        self._variable_of: dict[tuple[int, tuple[int, ...], bytes], tuple[Any, tf.Variable]] = {}
        # Tensors are kept beside their names so that their ids stay theirs.
        self._dims: dict[int, tuple[Any, list[Any]]] = {}
        self._composed: list[Any] = []
        # By graph and symbol, the size of an input: one tensor tells a size, not each that has it.
        self._anchors: dict[tuple[Any, str], Dim] = {}
        self._fresh = 0
        self._maker = ThreadPoolExecutor(max_workers=1)

    @property
    def carriers(self) -> dict[str, str]:
        """Which element types are carried by which; see `narrow_types`."""
        return {}

    def constant(self, array: np.ndarray, name: str = "", key: np.ndarray | None = None) -> Any:
        if array.dtype == object:
            return tf.constant(array.tolist(), dtype=tf.string, shape=array.shape)
        array = carry(array, self.carriers)
        if array.nbytes < VARIABLE_BYTES or tf.executing_eagerly() or array.dtype.kind not in "fiub":
            return tf.constant(array)
        return tf.convert_to_tensor(self._variable(array, name or "constant"))

    def _variable(self, array: np.ndarray, name: str) -> tf.Variable:
        key = (id(array), array.shape, b"")
        if key not in self._variable_of:
            unique = legal_name(name)
            while unique in self.variables:
                unique += "_"
            # tf.function traces twice when it sees a Variable being made; another thread is out of its sight.
            variable = self._maker.submit(tf.Variable, array, trainable=False, name=unique).result()
            self.variables[unique] = variable
            self._variable_of[key] = (array, variable)
        return self._variable_of[key][1]

    def numpy(self, tensor: Any) -> np.ndarray:
        array = np.asarray(tensor.numpy())
        return array.astype(object) if array.dtype.kind in "SU" else array

    def rank(self, tensor: Any) -> int | None:
        rank = tensor.shape.rank
        return None if rank is None else int(rank)

    def shape(self, tensor: Any) -> list[Any]:
        if tensor.shape.rank is None:
            raise refuse("a tensor of unknown rank", "its sizes are needed while converting")
        known = self._dims.get(id(tensor), (None, [None] * tensor.shape.rank))[1]
        return [
            int(size) if size is not None else self._dim(tensor, axis, known[axis])
            for axis, size in enumerate(tensor.shape)
        ]

    def _dim(self, tensor: Any, axis: int, known: Any) -> Dim:
        if isinstance(known, Dim):
            return known
        coefficient, symbols = factors(known) if isinstance(known, str) else (1, (self._anonymous(),))
        anchors = [self._anchors.get((self.graph_key(), symbol)) for symbol in symbols]
        if any(anchor is None for anchor in anchors):
            dim = Dim(coefficient, symbols, lambda: tf.shape(tensor)[axis])
        else:
            dim = product([coefficient, *anchors])
        self._remember(tensor)[axis] = dim
        return dim

    def anchor(self, tensor: Any, dims: Sequence[Any]) -> None:
        for axis, name in enumerate(dims):
            key = (self.graph_key(), name)
            if isinstance(name, str) and factors(name) == (1, (name,)) and key not in self._anchors:
                self._anchors[key] = Dim(1, (name,), lambda axis=axis: tf.shape(tensor)[axis])  # type: ignore[misc]

    def _anonymous(self) -> str:
        self._fresh += 1
        return f"?{self._fresh}"

    def _remember(self, tensor: Any) -> list[Any]:
        entry = self._dims.setdefault(id(tensor), (tensor, [None] * (tensor.shape.rank or 0)))
        return entry[1]

    def name_dims(self, tensor: Any, dims: Sequence[Any]) -> None:
        if not tf.is_tensor(tensor) or (tensor.shape.rank is not None and tensor.shape.rank != len(dims)):
            return
        if not hasattr(tensor, "numpy"):
            tensor.set_shape([d if isinstance(d, int) else None for d in dims])
        names = self._remember(tensor)
        for axis, dim in enumerate(dims):
            if names[axis] is None and not isinstance(dim, int):
                names[axis] = dim

    def dtype(self, tensor: Any) -> str:
        return str(tensor.dtype.name)

    def reshape(self, tensor: Any, sizes: Sequence[Any]) -> Any:
        sizes = self._resolved(tensor, list(sizes))
        dynamic = [i for i, s in enumerate(sizes) if isinstance(s, Dim)]
        request = list(sizes)
        if len(dynamic) == 1 and -1 not in sizes and 0 not in sizes:
            request[dynamic[0]] = -1  # one unknown size: let the runtime find it, without computing shapes
            dynamic = []
        if dynamic:
            request = self.stack(HostVector(request, dtype="int32"))
        result = tf.reshape(tensor, request)
        self.name_dims(result, [None if _is_minus_one(s) else s for s in sizes])
        return result

    def _resolved(self, tensor: Any, sizes: list[Any]) -> list[Any]:
        """Replace -1 by the size it stands for, where the symbols tell."""
        if not any(_is_minus_one(s) for s in sizes) or tensor.shape.rank is None:
            return sizes
        place = next(i for i, s in enumerate(sizes) if _is_minus_one(s))
        rest = product([s for i, s in enumerate(sizes) if i != place])
        found = divide(product(self.shape(tensor)), rest)
        return sizes if found is None else [found if i == place else s for i, s in enumerate(sizes)]

    def transpose(self, tensor: Any, order: Sequence[int]) -> Any:
        sizes = self.shape(tensor)
        if self.flavor == "tflite" and len(order) > TRANSPOSE_RANK and not tf.executing_eagerly():
            return self._transpose_runs(tensor, sizes, order)
        result = self.move(lambda x: tf.transpose(x, list(order)), tensor, direct=("int8", "uint8", "bool"))
        self.name_dims(result, [sizes[axis] for axis in order])
        return result

    def _transpose_runs(self, tensor: Any, sizes: Sequence[Any], order: Sequence[int]) -> Any:
        """Transpose with axes that stay neighbours joined, since TFLite transposes no more than six."""
        runs = [[order[0]]]
        for axis in order[1:]:
            if axis == runs[-1][-1] + 1:
                runs[-1].append(axis)
            else:
                runs.append([axis])
        if len(runs) > TRANSPOSE_RANK:
            raise refuse(f"a transpose of rank {len(order)}", f"TensorFlow Lite takes ranks up to {TRANSPOSE_RANK}")
        stored = sorted(runs)
        joined = self.reshape(tensor, [self.product([sizes[axis] for axis in run]) for run in stored])
        moved = self.transpose(joined, [stored.index(run) for run in runs])
        return self.reshape(moved, [sizes[axis] for axis in order])

    def move(self, function: Callable[..., Any], *tensors: Any, direct: Sequence[str] = ()) -> Any:
        """Run an operation that only moves elements, where need be in a type of the same content that TFLite moves.

        Args:
            function: The operation; gives one tensor or a list of them.
            *tensors: Its operands, of one type.
            direct: Types that TFLite's kernel takes besides `_MOVED`.
        """
        dtype = tensors[0].dtype
        name = dtype.name
        if self.flavor != "tflite" or tf.executing_eagerly() or name in _MOVED or name in direct:
            return function(*tensors)
        if name == "float16" and "int16" in direct:
            # Not by a cast: TensorFlow's converter pulls one through a gather or a broadcast, and then refuses that.
            there, back = tf.bitcast, "int16"
        elif name in _MOVED_AS_BITS:
            there, back = tf.bitcast, _MOVED_AS_BITS[name]
        else:
            there, back = tf.cast, _MOVED_WIDER.get(name, name)
        result = function(*[there(t, back) for t in tensors])
        return [there(r, dtype) for r in result] if isinstance(result, list) else there(result, dtype)

    def stack(self, vector: HostVector) -> Any:
        dtype = tf.dtypes.as_dtype(vector.dtype)
        if vector.static:
            return tf.constant(vector.array())
        items = [tf.cast(scalar_of(i), dtype) for i in vector.items]
        return items[0] if vector.scalar else tf.stack(items)

    def unstack(self, tensor: Any, what: str) -> list[Any]:
        if tensor.shape.rank == 0:
            return [Dim(1, (self._anonymous(),), lambda: tf.cast(tensor, tf.int32))]
        if tensor.shape.rank != 1 or tensor.shape[0] is None:
            raise refuse(what, "its length must be known while converting")
        return [
            Dim(1, (self._anonymous(),), lambda i=i: tf.cast(tensor[i], tf.int32))  # type: ignore[misc]
            for i in range(tensor.shape[0])
        ]

    def graph_key(self) -> Any:
        return None if tf.executing_eagerly() else id(tf.compat.v1.get_default_graph())

    def eager(self) -> contextlib.AbstractContextManager[Any]:
        return tf.init_scope()  # type: ignore[no-any-return]

    def compose(
        self, name: str, record: str, tensors: Sequence[Any], body: Callable[[Sequence[Any]], Sequence[Any]]
    ) -> Sequence[Any]:
        made: list[Any] = []

        def inside(*arguments: Any) -> list[Any]:
            made[:] = body(arguments)
            return [r for r in made if r is not None]

        inside.__name__ = legal_name(name)
        function = self._traced(inside, [tf.TensorSpec(t.shape, t.dtype) for t in tensors])
        results = function(*tensors)
        call = results[0].op if results[0].op.type in CALLS else results[0].op.inputs[0].op
        call._set_attr(RECORD, attr_value_pb2.AttrValue(s=record.encode()))
        outside = iter(results)
        return [None if r is None else next(outside) for r in made]

    def is_long(self, body: Callable[[], Sequence[Any]], least: int) -> bool:
        if self.flavor == "tflite" or tf.executing_eagerly():
            return False  # only a SavedModel keeps functions, and what is computed at once needs none
        made: list[Any] = []

        def inside() -> list[Any]:
            made[:] = body()
            return [r for r in made if tf.is_tensor(r)]

        function = self._traced(inside, [])
        if not all(r is None or tf.is_tensor(r) for r in made):
            return False
        operators = function.get_concrete_function().graph.get_operations()
        return sum(op.type not in ("Placeholder", "Const") for op in operators) >= least

    def _traced(self, function: Callable[..., Any], specs: Sequence[Any]) -> Any:
        """A function in a graph of its own, which is kept: its identity is a key of caches."""
        made = tf.function(function, input_signature=specs, autograph=False)
        self._composed.append(made.get_concrete_function())
        return made

    def scope(self, name: str) -> contextlib.AbstractContextManager[Any]:
        return tf.name_scope(legal_name(name))  # type: ignore[no-any-return]

    def sizes_tensor(self, sizes: Sequence[Any], dtype: str = "int32") -> Any:
        """Sizes as a vector that TensorFlow's own operators take: a list if all are numbers, else a tensor."""
        items = [int(s) if isinstance(s, (int, np.integer)) else s for s in sizes]
        vector = HostVector(items, dtype=dtype)
        return [int(i) for i in vector.items] if vector.static else self.stack(vector)


def tf_dtype(name: str) -> Any:
    """TensorFlow's dtype by the signature's name.

    Raises:
        UnsupportedError: If TensorFlow has no such type.
    """
    try:
        return tf.dtypes.as_dtype(name)
    except TypeError:
        raise refuse(f"an input of {name}", "TensorFlow has no such type; inside the graph it is fine") from None


def _is_minus_one(size: Any) -> bool:
    return isinstance(size, (int, np.integer)) and int(size) == -1


def legal_name(name: str) -> str:
    """A TensorFlow node name as close as possible to an ONNX one."""
    text = re.sub(r"[^A-Za-z0-9_.\\/-]", "_", name).strip("/")
    return text if re.match(r"[A-Za-z0-9.]", text) else f"n{text}"
