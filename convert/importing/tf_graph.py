"""Reads a TensorFlow graph into ONNX: functions are inlined, variables become constants."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import function_def_to_graph

from xport.convert.importing import (  # those that are not used here fill the tables
    tf_branches,
    tf_complex,  # noqa: F401
    tf_composites,
    tf_control,  # noqa: F401
    tf_detection,  # noqa: F401
    tf_dilated,  # noqa: F401
    tf_elementwise,  # noqa: F401
    tf_images,  # noqa: F401
    tf_layers,  # noqa: F401
    tf_losses,  # noqa: F401
    tf_matrices,  # noqa: F401
    tf_quantizing,  # noqa: F401
    tf_resizing,  # noqa: F401
    tf_segments,  # noqa: F401
    tf_shapes,  # noqa: F401
    tf_spectra,  # noqa: F401
    tf_state,
)
from xport.convert.importing.advice import advice
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import Call, handler_of, is_complex
from xport.convert.importing.writer import Writer
from xport.convert.primitives.tf_core import CALLS
from xport.errors import UnsupportedError

_IGNORED = {"NoOp", "Assert", "Placeholder", "Const", "VarHandleOp", "VariableV2", "ReadVariableOp", *CALLS}
_TABLES = {"HashTableV2", "MutableHashTableV2"}
_IGNORED |= _TABLES
_NEXT = ("NextIteration", "RefNextIteration")


class GraphReader:
    """Reads the part of a graph that some outputs need.

    Args:
        writer: What is written to.
        graph: The main graph; its functions are known to it.
        functions: The definitions of its functions by name.
        variable: Gives a variable's content for the operation that names it.
        entries: Gives the keys and values of a lookup table for the operation that names it.
    """

    def __init__(
        self,
        writer: Writer,
        graph: Any,
        functions: dict[str, Any],
        variable: Callable[[Any], np.ndarray],
        entries: Callable[[Any], tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> None:
        self.writer = writer
        self.graph = graph
        self._functions = functions
        self._variable = variable
        self._entries = entries
        self._graphs: dict[str, Any] = {}
        self._changed: dict[str, Any] = {}

    def function(self, name: str) -> Any:
        """The body of a function as a graph."""
        if name not in self._graphs:
            with self.graph.as_default():
                self._graphs[name] = function_def_to_graph.function_def_to_graph(self._functions[name])
        return self._graphs[name]

    def check(self, outputs: Iterable[Any], feeds: Container[str] = ()) -> None:
        """Name every operator that is missing, all at once, before work begins; note what the graph changes.

        Args:
            outputs: What is going to be read.
            feeds: The names of the tensors that are going to be given.

        Raises:
            UnsupportedError: Listing the operators with the nodes that use them.
        """
        missing: dict[str, list[str]] = defaultdict(list)
        todo, entered = [list(outputs)], set()
        self._changed = tf_state.changed(todo[0], self.function, self._functions)
        while todo:
            for op in needed(todo.pop(), (), feeds):
                if handler_of(op) is None and op.type not in _IGNORED and op.type not in self._functions:
                    missing[op.type + " of complex numbers" * is_complex(op)].append(op.name)
                for name in called(op):
                    if name in self._functions and name not in entered:
                        entered.add(name)
                        todo.append(list(self.function(name).outputs))
        if missing:
            rows = [f"  {kind}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}" for kind, names in
                    sorted(missing.items())]  # fmt: skip
            raise UnsupportedError(
                "TensorFlow operators that xport cannot write as ONNX:\n" + "\n".join(rows),
                advice(
                    missing,
                    "Replace them in the source model, or try the other converter: --via savedmodel_to_onnx_tf2onnx",
                ),
            )

    def run(self, feeds: dict[str, Tensor], outputs: Sequence[Any]) -> list[Tensor]:
        """Read what outputs need.

        Args:
            feeds: The inputs by the name of the tensor (``x:0``).
            outputs: Tensors of one graph.

        Returns:
            What they are in ONNX.
        """
        values = dict(feeds)
        for op in needed(outputs, feeds):
            if all(t.name in values for t in op.outputs):
                continue
            with self._named(op.name):
                for tensor, made in zip(op.outputs, self._operator(op, values), strict=False):
                    values.setdefault(tensor.name, refined(self.writer, made, tensor))
        return [values[tensor.name] for tensor in outputs]

    @contextlib.contextmanager
    def _named(self, name: str) -> Iterator[None]:
        before, self.writer.name = self.writer.name, name
        try:
            yield
        finally:
            self.writer.name = before

    def _operator(self, op: Any, values: dict[str, Tensor]) -> Sequence[Tensor]:
        if op.type == "Const":
            return [read_constant(op)]
        if op.type in ("VarHandleOp", "VariableV2", "Placeholder", *_TABLES):
            return [Tensor("resource", (), label=op.name, extra=op)] if op.type != "VariableV2" else [self.read(op)]
        merges = op.type in tf_branches.MERGES  # what comes from a side that is never taken has not been read
        inputs = [values[t.name] for t in op.inputs if not merges or t.name in values]
        if op.type == "ReadVariableOp":
            return [self.read(inputs[0].extra)]
        name = op.get_attr("f").name if op.type in CALLS else op.type
        if name in self._functions:
            made = tf_composites.recorded(op, inputs, self.writer)
            return self.call(name, inputs) if made is None else made
        handler = handler_of(op)
        if handler is None:
            return []
        results = handler(Call(self.writer, self, op, inputs, values))
        return [results] if isinstance(results, Tensor) else results

    def call(self, name: str, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Inline a function."""
        graph = self.function(name)
        return self.run({t.name: x for t, x in zip(graph.inputs, inputs, strict=True)}, graph.outputs)

    def read(self, handle: Any) -> Tensor:
        """A variable's content as a constant.

        Raises:
            UnsupportedError: If it is no variable, or the model changes it.
        """
        if handle is None or handle.type not in ("VarHandleOp", "VariableV2"):
            kind = "a resource" if handle is None else handle.type
            raise UnsupportedError(f"The model reads {kind}, which ONNX does not have.")
        self._refuse_changed(handle)
        return constant(self._variable(handle), label=handle.name)

    def _refuse_changed(self, handle: Any) -> None:
        if handle.name in self._changed:
            raise tf_state.refuse(self._changed[handle.name], handle.name)

    def table(self, handle: Any) -> tuple[np.ndarray, np.ndarray]:
        """The keys and values of a lookup table.

        Raises:
            UnsupportedError: If it is no table whose content is known, or the model changes it.
        """
        if handle is None or handle.type not in _TABLES or self._entries is None:
            kind = "a resource" if handle is None else handle.type
            raise UnsupportedError(f"The model looks up in {kind}, whose content is not known while converting.")
        self._refuse_changed(handle)
        return self._entries(handle)


def needed(outputs: Iterable[Any], feeds: Any, given: Container[str] | None = None) -> Iterator[Any]:
    """The operations that tensors need, each after those it needs itself; what is fed needs nothing.

    ``given`` says what decides at run time, if that is not what is fed. What TensorFlow 1's loops hand to the next turn
    needs nothing either: otherwise there would be no beginning.
    """
    done: set[str] = set()
    stack = [(t.op, False) for t in reversed(list(outputs))]
    while stack:
        op, ready = stack.pop()
        if op.name in done:
            continue
        if ready or op.type in _NEXT or (op.outputs and all(t.name in feeds for t in op.outputs)):
            done.add(op.name)
            yield op
            continue
        stack.append((op, True))
        inputs = reversed(tf_branches.arriving(op, feeds if given is None else given))
        stack.extend((t.op, False) for t in inputs if t.op.name not in done and t.name not in feeds)


def called(op: Any) -> Iterator[str]:
    """The functions that an operation names."""
    yield op.type
    for attribute in op.node_def.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        yield from (f.name for f in attribute.list.func)


def read_constant(op: Any) -> Tensor:
    """The content of a ``Const``."""
    array = tf.make_ndarray(op.node_def.attr["value"].tensor)
    if array.dtype.kind in "SU":
        array = array.astype(object)
    return constant(array, label=op.name)


def refined(w: Writer, made: Tensor, tensor: Any) -> Tensor:
    """A value with the sizes that TensorFlow knows besides."""
    if made.const is not None or tensor.shape.rank is None or made.dtype in ("resource", "variant"):
        return made
    theirs = tensor.shape.as_list()
    if made.dims is None:
        return made.with_(dims=tuple(w.fresh() if d is None else int(d) for d in theirs))
    if len(made.dims) != len(theirs):
        return made
    return made.with_(
        dims=tuple(o if d is None or isinstance(o, int) else int(d) for o, d in zip(made.dims, theirs, strict=True))
    )
