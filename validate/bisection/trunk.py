"""The ONNX form of a side: the one language in which two formats can be laid side by side.

Whatever an artifact is stored in, xport's own importers write it as ONNX, node by node. There every intermediate
value has a name, can be computed by one and the same runtime on both sides, and any part of the graph can be cut
out and run alone. Whether the form answers like the artifact itself is checked first (`xport.validate.bisection.run`),
so that a fault of a runtime is not blamed on an operator.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from xport.errors import UnreadableModelError, UnsupportedError

_SCOPES = "pkg.torch.onnx.name_scopes"
_LARGEST = 1_900_000_000
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}


@dataclass(frozen=True)
class Node:
    """One operator of a form.

    Attributes:
        position: Its place in topological order.
        name: Its name; made up where the file has none.
        op: The operator type, with its domain if it is not ONNX's own.
        inputs: Names of the values that it takes, those that its subgraphs see included; empty names left out.
        outputs: Names of the values that it makes.
        module: The path of the PyTorch module that it comes from; empty if the form does not say.
        proto: The node itself.
    """

    position: int
    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    module: str
    proto: onnx.NodeProto = field(repr=False)


class Trunk:
    """An ONNX graph without functions, every node named.

    Args:
        model: The model; it is changed.

    Attributes:
        nodes: In topological order.
        producer: By value, the node that makes it.
        inputs: Names of the graph's inputs.
        outputs: Names of the graph's outputs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        self.model = model
        graph = model.graph
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [value.name for value in graph.input if value.name not in self.initializers]
        self.outputs = [value.name for value in graph.output]
        self.nodes = list(self._read())
        self.producer = {name: node for node in self.nodes for name in node.outputs}

    @classmethod
    def open(cls, path: Path) -> Trunk:
        """Read an ONNX file.

        Raises:
            UnreadableModelError: If it is none.
            UnsupportedError: If it is too large to be taken apart.
        """
        from xport import onnx_file

        onnx_file.check_external_data(path)
        size = sum(file.stat().st_size for file in (path, *(path.parent / n for n in onnx_file.external_files(path))))
        if size > _LARGEST:
            raise UnsupportedError(
                f"The ONNX form has {size / 1e9:.1f} GB; bisection takes models up to 2 GB apart.",
                "Bisect a smaller configuration of the same architecture.",
            )
        try:
            return cls(onnx.load(path))
        except Exception as error:  # protobuf's, onnx's and the OS's errors share no root
            raise UnreadableModelError(f"{path} is not a readable ONNX model: {error}.") from error

    def _read(self) -> Iterator[Node]:
        taken = {proto.name for proto in self.model.graph.node}
        for position, proto in enumerate(self.model.graph.node):
            if not proto.name:
                proto.name = f"{proto.op_type}_{position}"
                while proto.name in taken:
                    proto.name += "_"
            op = f"{proto.domain}.{proto.op_type}" if proto.domain not in ("", "ai.onnx") else proto.op_type
            seen = dict.fromkeys([*proto.input, *_captured(proto)])
            inputs = tuple(name for name in seen if name)
            outputs = tuple(name for name in proto.output if name)
            yield Node(position, proto.name, op, inputs, outputs, _module_path(proto), proto)

    @cached_property
    def constants(self) -> set[str]:
        """Values that depend on no input of the graph."""
        known = set(self.initializers)
        for node in self.nodes:
            if all(name in known for name in node.inputs) and node.proto.op_type not in _RANDOM:
                known.update(node.outputs)
        return known

    @cached_property
    def consumers(self) -> dict[str, list[Node]]:
        """By value, the nodes that take it."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def values(self) -> list[str]:
        """Every value that depends on an input, in topological order; the inputs first."""
        made = [name for node in self.nodes for name in node.outputs if name not in self.constants]
        return [*self.inputs, *made]

    def data_inputs(self, node: Node) -> list[str]:
        """What a node takes that depends on the graph's inputs."""
        return [name for name in node.inputs if name not in self.constants]

    def initializer(self, name: str) -> np.ndarray:
        """The content of an initializer."""
        return np.asarray(numpy_helper.to_array(self.initializers[name]))

    def region(self, target: str, stop: Mapping[str, Any]) -> tuple[list[Node], list[str]]:
        """What lies between known values and one that is made of them.

        Args:
            target: The value that is made.
            stop: Values not to look behind; ``target`` itself does not count.

        Returns:
            The nodes in topological order, constant ones left out, and the values where the walk stopped.
        """
        nodes: dict[int, Node] = {}
        border: dict[str, None] = {}
        waiting = [target]
        while waiting:
            name = waiting.pop()
            node = self.producer.get(name)
            if name in self.constants or (node is not None and node.position in nodes):
                continue
            if node is None or (name != target and name in stop):
                border[name] = None
                continue
            nodes[node.position] = node
            waiting += self.data_inputs(node)
        return [nodes[position] for position in sorted(nodes)], list(border)

    def part(self, given: Mapping[str, np.ndarray], wanted: Sequence[str]) -> onnx.ModelProto:
        """A model of its own that computes some values from others.

        Args:
            given: The values that become inputs, with content of the right dtype and shape.
            wanted: The values that become outputs.

        Returns:
            The smallest such model.
        """
        needed: dict[int, Node] = {}
        used: dict[str, None] = {}
        waiting = list(wanted)
        while waiting:
            name = waiting.pop()
            if name in given:
                continue
            node = self.producer.get(name)
            if node is None:
                used[name] = None
            elif node.position not in needed:
                needed[node.position] = node
                waiting += node.inputs
        graph = onnx.GraphProto(name="part")
        graph.node.extend(needed[position].proto for position in sorted(needed))
        graph.initializer.extend(self.initializers[name] for name in used if name in self.initializers)
        graph.input.extend(_described(name, array) for name, array in given.items())
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        made = onnx.ModelProto(ir_version=self.model.ir_version, producer_name="xport bisect", graph=graph)
        made.opset_import.extend(self.model.opset_import)
        return made


def _module_path(proto: onnx.NodeProto) -> str:
    """The module that PyTorch's exporter says a node comes from; its scopes end with the operation itself."""
    for entry in proto.metadata_props:
        if entry.key == _SCOPES:
            try:
                scopes = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError):
                return ""
            return str(scopes[-2]) if isinstance(scopes, list) and len(scopes) > 1 else ""
    return ""


def _captured(proto: onnx.NodeProto) -> Iterator[str]:
    """Values around a node that its subgraphs use."""
    for attribute in proto.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            own |= {name for node in graph.node for name in node.output}
            for node in graph.node:
                yield from (name for name in (*node.input, *_captured(node)) if name and name not in own)
            yield from (value.name for value in graph.output if value.name not in own)


def _described(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    kind = onnx.TensorProto.STRING if array.dtype == object else onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, array.shape)
