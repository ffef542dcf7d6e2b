"""The signature of a PyTorch model, derived by running it, and running it by its signature."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from xport import proof
from xport.convert.source import Source
from xport.convert.torch_exported import FlatProgram
from xport.convert.torch_inputs import examples, input_specs
from xport.convert.torch_probe import Sizes, probe_inputs, run, settings
from xport.convert.torch_values import dtype_of, flatten_outputs, to_array, to_tensor
from xport.errors import UsageError, XportError, XportWarning
from xport.formats import Format
from xport.signature import Dim, Signature, TensorSpec

Tensors = list[tuple[str | None, torch.Tensor]]


def derive_signature(source: Source, module: nn.Module | None = None) -> Signature:
    """Find out what a model of the PyTorch family takes and gives.

    The inputs are what the user, an example, the file or the zoo says, in the order of ``forward``. The outputs are
    measured: the model runs at two settings of its dynamic dimensions, and a size that changes takes the name of the
    symbol that has it in both, or a name of its own.

    Args:
        source: The source.
        module: Its module, if it is already loaded.

    Returns:
        The signature.

    Raises:
        UsageError: If the inputs are unknown, do not fit ``forward``, or a dimension that is said to be dynamic
            cannot vary.
    """
    if module is None:
        from xport.convert.torch_loading import load_module

        module = load_module(source)
    inputs = input_specs(source, module)
    given = examples(source, module)
    assumed = bool(given) and not source.inputs
    try:
        return _measure(source, module, inputs, given)
    except UsageError as error:
        if not assumed or not any(isinstance(d, str) for spec in inputs for d in spec.shape or ()):
            raise
        fixed = tuple(replace(s, shape=tuple(to_tensor(given[s.name]).shape)) for s in inputs)
        signature = _measure(source, module, fixed, given)
        warnings.warn(
            XportWarning(
                f"{source.name} runs at its examples' batch size only, so the batch is fixed: {error.message}"
            ),
            stacklevel=2,
        )
        return signature


def call_module(module: nn.Module, signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a module on arrays.

    Args:
        module: What `load_module` returned.
        signature: What `derive_signature` returned for it.
        inputs: Arrays by input name.

    Returns:
        Arrays by output name.

    Raises:
        UsageError: If the module returns another number of tensors than the signature has.
    """
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    tensors = {spec.name: to_tensor(inputs[spec.name]).to(device) for spec in signature.inputs}
    outputs = flatten_outputs(run(module, tensors))
    if len(outputs) != len(signature.outputs):
        raise UsageError(
            f"The model returned {len(outputs)} tensors, expected {len(signature.outputs)}: "
            f"{', '.join(spec.name for spec in signature.outputs)}."
        )
    return {spec.name: to_array(t) for spec, (_, t) in zip(signature.outputs, outputs, strict=True)}


def probe_sizes(
    module: nn.Module, inputs: Sequence[TensorSpec], given: Mapping[str, Any], *, first_only: bool = False
) -> tuple[Sizes, Sizes]:
    """The first of `working_sizes`."""
    return next(working_sizes(module, inputs, given, first_only=first_only))


def working_sizes(
    module: nn.Module, inputs: Sequence[TensorSpec], given: Mapping[str, Any], *, first_only: bool = False
) -> Iterator[tuple[Sizes, Sizes]]:
    """Pairs of settings of the dynamic dimensions at which a module runs.

    Args:
        module: The module.
        inputs: Its inputs.
        given: Example values by name.
        first_only: Do not try the second setting, where the module's signature is known already.

    Yields:
        Two assignments of sizes to symbols, different in every symbol.

    Raises:
        UsageError: If there is none, naming the dimension that cannot vary, where that can be told.
    """
    symbols = Signature(tuple(inputs), ()).symbols
    failure: tuple[Sizes, Sizes | None, Exception] | None = None
    found = False
    for first, second in settings(symbols, preferred=_preferred(module, inputs, given), ranges=_ranges(module, inputs)):
        error = _attempt(module, inputs, first, given)
        error_at_second = error or (None if first_only else _attempt(module, inputs, second, given))
        if error_at_second is None:
            found = True
            yield first, second
        elif failure is None or (failure[1] is None and error is None):
            failure = (first, second if error is None else None, error_at_second)
    if found:
        return
    if failure is None:
        raise UsageError("No sizes are left to try within the program's own limits.", "Export it with wider limits.")
    raise _cannot_run(module, inputs, given, *failure)


def _measure(source: Source, module: nn.Module, inputs: tuple[TensorSpec, ...], given: Mapping[str, Any]) -> Signature:
    first, second = probe_sizes(module, inputs, given)
    runs = [
        flatten_outputs(run(module, probe_inputs(inputs, sizes, examples=given, blank=blank)))
        for sizes, blank in ((first, False), (second, False), (first, True))
    ]
    if len({len(tensors) for tensors in runs}) != 1:
        counts = " or ".join(str(len(tensors)) for tensors in runs[:2])
        raise UsageError(
            f"{source.name} returns {counts} tensors, depending on its inputs.",
            "Wrap it in a module that returns a fixed number of tensors.",
        )
    names = _output_names(source, module, runs[0], inputs)
    outputs = []
    for i, name in enumerate(names):
        shapes = [tuple(tensors[i][1].shape) for tensors in runs]
        outputs.append(TensorSpec(name, dtype_of(runs[0][i][1]), _symbolic(name, shapes, first, second)))
    return Signature(inputs, tuple(outputs))


def _symbolic(name: str, shapes: Sequence[tuple[int, ...]], first: Sizes, second: Sizes) -> tuple[Dim, ...]:
    """The shape of an output from its shapes at the first setting, the second, and the first with other values."""
    if len({len(shape) for shape in shapes}) != 1:
        raise UsageError(
            f"The rank of output {name!r} depends on its inputs: {' or '.join(str(list(s)) for s in shapes[:2])}.",
            "Wrap the model in a module whose outputs have a fixed rank.",
        )
    by_pair = {(first[symbol], second[symbol]): symbol for symbol in reversed(first)}
    dims: list[Dim] = []
    for axis, (a, b, c) in enumerate(zip(*shapes, strict=True)):
        if a == b == c:
            dims.append(a)
        else:
            dims.append(by_pair.get((a, b), f"{name}_dim{axis}") if a == c else f"{name}_dim{axis}")
    return tuple(dims)


def _output_names(source: Source, module: nn.Module, tensors: Tensors, inputs: Sequence[TensorSpec]) -> list[str]:
    given = source.output_names or _described_names(source, module, len(tensors))
    if given and len(given) != len(tensors):
        raise UsageError(
            f"{len(given)} output names are given, but {source.name} returns {len(tensors)} tensors.",
            "Name each output once, in order.",
        )
    taken = {spec.name for spec in inputs}
    names: list[str] = []
    for i, (own, _) in enumerate(tensors):
        name = given[i] if given else own or ("output" if len(tensors) == 1 else f"output_{i}")
        while name in taken and not source.output_names:
            name += "_out"
        taken.add(name)
        names.append(name)
    return names


def _described_names(source: Source, module: nn.Module, count: int) -> tuple[str, ...]:
    """Output names that the file records or the zoo describes, if they are as many as the outputs."""
    from xport.models.base import ReferenceModule

    names: tuple[str, ...] = ()
    if source.path is not None and source.format in (Format.TORCHSCRIPT, Format.EXPORTED):
        recorded = proof.read_signature(source.path, source.format)
        names = tuple(spec.name for spec in recorded.outputs) if recorded else ()
    elif isinstance(module, ReferenceModule):
        names = tuple(module.outputs)
    return names if len(names) == count else ()


def _attempt(
    module: nn.Module, inputs: Sequence[TensorSpec], sizes: Sizes, given: Mapping[str, Any]
) -> Exception | None:
    """The error of a run at these sizes; None if it went well."""
    try:
        flatten_outputs(run(module, probe_inputs(inputs, sizes, examples=given)))
    except XportError:
        raise
    except Exception as error:  # a model's code may raise anything
        return error
    return None


def _cannot_run(
    module: nn.Module,
    inputs: Sequence[TensorSpec],
    given: Mapping[str, Any],
    good: Sizes,
    other: Sizes | None,
    error: Exception,
) -> UsageError:
    listing = ", ".join(map(str, inputs))
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # TorchScript prints a traceback of its own; the reason is its last line.
    reason = (lines[-1] if lines[0].startswith("The following operation failed") else lines[0]).strip()
    fixed = [] if other is None else [s for s in good if _attempt(module, inputs, {**good, s: other[s]}, given)]
    if fixed and other is not None:
        symbol = fixed[0]
        failure = UsageError(
            f"The dimension {symbol!r} of {listing} cannot vary: the model runs with {symbol}={good[symbol]} but "
            f"not with {symbol}={other[symbol]}: {reason}",
            f"If it is fixed, write the size: {listing.replace(symbol, str(good[symbol]))}",
        )
    else:
        sizes = f" with {', '.join(f'{s}={n}' for s, n in good.items())}" if good else ""
        failure = UsageError(
            f"The model does not run on {listing}{sizes}: {reason}",
            "Check dtypes and sizes; write a number for a dimension that cannot vary.",
        )
    failure.__cause__ = error
    return failure


def _preferred(module: nn.Module, inputs: Sequence[TensorSpec], given: Mapping[str, Any]) -> dict[str, int]:
    """Sizes that the model is known to take: the examples', or the zoo's defaults."""
    sizes: dict[str, int] = {}
    for spec in inputs:
        if spec.name in given:
            shape = tuple(given[spec.name].shape)
            if len(shape) != len(spec.shape or ()):
                raise UsageError(f"Example {spec.name!r} has shape {list(shape)}, expected {spec}.")
            sizes.update({d: n for d, n in zip(spec.shape or (), shape, strict=True) if isinstance(d, str)})
    from xport.models.base import ReferenceModule

    if not sizes and isinstance(module, ReferenceModule):
        from xport.models.spec import DEFAULT_SIZES

        return dict(DEFAULT_SIZES)
    # A size of one hides broadcasting, and equal sizes hide which is which.
    return sizes if 1 not in sizes.values() and len(set(sizes.values())) == len(sizes) else {}


def _ranges(module: nn.Module, inputs: Sequence[TensorSpec]) -> dict[str, tuple[int, int]]:
    """Bounds by symbol, from those that a program records by input and position."""
    limits = module.limits if isinstance(module, FlatProgram) else {}
    ranges: dict[str, tuple[int, int]] = {}
    for spec in inputs:
        for axis, dim in enumerate(spec.shape or ()):
            if isinstance(dim, str) and (spec.name, axis) in limits:
                low, high = limits[spec.name, axis]
                old_low, old_high = ranges.get(dim, (low, high))
                ranges[dim] = (max(low, old_low), min(high, old_high))
    return ranges
