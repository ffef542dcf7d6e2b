"""The inputs of a module: from what the user says, an example, or what the file records, in the order of forward."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from xport import proof
from xport.convert.source import Source
from xport.convert.torch_exported import FlatProgram
from xport.convert.torch_flat import argument_names, forward_parameters
from xport.convert.torch_recorded import example_specs
from xport.convert.torch_values import dtype_of, to_tensor
from xport.errors import UsageError
from xport.formats import Format
from xport.signature import TensorSpec, dtype_name, python_names


def input_specs(source: Source, module: nn.Module) -> tuple[TensorSpec, ...]:
    """The inputs of a module, in the order of its ``forward``.

    What the user gave comes first, then examples, then what the model describes itself.

    Args:
        source: Where the module comes from.
        module: The loaded module.

    Returns:
        One spec an input that is given; arguments with a default may be left out.

    Raises:
        UsageError: If nothing tells the shapes, or the names are not those of ``forward``.
    """
    specs = source.inputs or _example_specs(source, module) or _described(source, module)
    if not specs:
        raise _unknown_shapes(source, module)
    return _in_order(specs, module, source.name)


def examples(source: Source, module: nn.Module) -> dict[str, Any]:
    """The user's example inputs by name; empty without them.

    Args:
        source: Where the module comes from.
        module: The loaded module, for the names of positional examples.

    Returns:
        Arrays or tensors by name.

    Raises:
        UsageError: If there are more examples than arguments, or something that is no tensor.
    """
    given = source.example_inputs
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        values = list(given) if isinstance(given, tuple | list) else [given]
        names = argument_names(module)
        if len(values) > len(names):
            raise UsageError(
                f"There are {len(values)} example inputs, but forward takes {len(names)}: {', '.join(names)}.",
                "Give a dict of arrays by argument name.",
            )
        given = dict(zip(names, values, strict=False))
    for name, value in given.items():
        if not isinstance(value, torch.Tensor) and not hasattr(value, "__array__"):
            raise UsageError(
                f"Example input {name!r} is a {type(value).__name__}, expected a tensor or an array.",
                f"Give a tensor: {{{name!r}: torch.tensor(…)}}",
            )
    return {name: value for name, value in given.items() if value is not None}


def _example_specs(source: Source, module: nn.Module) -> tuple[TensorSpec, ...]:
    given = examples(source, module)
    shapes = {name: tuple(value.shape) for name, value in given.items()}
    first = {shape[0] for shape in shapes.values() if shape}
    dynamic = len(first) == 1
    return tuple(
        TensorSpec(
            name,
            dtype_of(value) if isinstance(value, torch.Tensor) else dtype_name(to_array_dtype(value)),
            ("batch", *shapes[name][1:]) if dynamic and shapes[name] else shapes[name],
        )
        for name, value in given.items()
    )


def to_array_dtype(value: Any) -> Any:
    """The numpy dtype of anything that numpy can make an array of."""
    return value.dtype if hasattr(value, "dtype") else to_tensor(value).numpy().dtype


def _described(source: Source, module: nn.Module) -> tuple[TensorSpec, ...]:
    """What the file or the module itself says: xport's record, a program's placeholders, a zoo model's inputs."""
    if source.path is not None and source.format in (Format.TORCHSCRIPT, Format.EXPORTED):
        recorded = proof.read_signature(source.path, source.format)
        if recorded is not None:
            return recorded.inputs
    if isinstance(module, FlatProgram):
        return module.inputs
    from xport.models.base import ReferenceModule

    if isinstance(module, ReferenceModule):
        return tuple(TensorSpec(spec.name, spec.dtype, spec.shape) for spec in module.inputs)
    return ()


def _unknown_shapes(source: Source, module: nn.Module) -> UsageError:
    names = _required_names(module) or argument_names(module)[:1] or ["x"]
    if source.path is not None and source.format is Format.TORCHSCRIPT:
        specs = example_specs(source.path, names)
    else:
        specs = [TensorSpec(name, "float32", ("batch", 3, 224, 224)) for name in names]
    kind = "a TorchScript file" if source.format is Format.TORCHSCRIPT else "a PyTorch module"
    flags = " ".join(f"--input '{spec}'" for spec in specs)
    in_python = ", or pass example_inputs=" if source.live else ""
    return UsageError(
        f"{source.name} is {kind} and does not record its input shapes.",
        f"Add for example {flags}{in_python} (a word is a dynamic size).",
    )


def _required_names(module: nn.Module) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        p.name for p in forward_parameters(module) if p.default is inspect.Parameter.empty and p.kind not in variadic
    ]


def _in_order(specs: Sequence[TensorSpec], module: nn.Module, what: str) -> tuple[TensorSpec, ...]:
    by_name = dict(zip(python_names([spec.name for spec in specs]), specs, strict=True))
    known = argument_names(module)
    listing = f"forward takes {', '.join(known) or 'no named arguments'}."
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in forward_parameters(module))
    unknown = [name for name in by_name if name not in known]
    if unknown and not open_ended:
        flags = " ".join(
            f"--input '{TensorSpec(name, spec.dtype, spec.shape)}'" for name, spec in zip(known, specs, strict=False)
        )
        raise UsageError(
            f"{what} has no input named {by_name[unknown[0]].name!r}; {listing}",
            f"Use its names: {flags}" if flags else "Wrap it in a module whose forward names its arguments.",
        )
    missing = [name for name in _required_names(module) if name not in by_name]
    if missing:
        raise UsageError(
            f"The input {missing[0]!r} of {what} is not described; {listing}",
            f"Add --input '{missing[0]}:float32[batch,…]'",
        )
    order = [name for name in known if name in by_name] + unknown
    for spec in by_name.values():
        if spec.shape is None:
            raise UsageError(f"The shape of {spec.name!r} is unknown.", f"Add --input '{spec.name}:{spec.dtype}[…]'")
    return tuple(by_name[name] for name in order)
