"""A view of a module that takes a signature's inputs in order and returns its outputs as a tuple."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from xport.convert.torch_values import flatten_outputs
from xport.errors import UsageError
from xport.signature import Signature, python_names


def forward_parameters(module: nn.Module) -> list[inspect.Parameter]:
    """What ``forward`` takes, in order, without ``self``.

    Args:
        module: A module, scripted or not.

    Returns:
        One parameter an argument; those of a scripted module come from its schema.
    """
    if isinstance(module, torch.jit.ScriptModule):
        schema: Any = module.forward.schema  # type: ignore[attr-defined]
        return [_schema_parameter(argument) for argument in schema.arguments[1:]]
    explicit = module.__dict__.get("__signature__")
    signature = explicit or inspect.signature(module.forward)
    return list(signature.parameters.values())


def _schema_parameter(argument: Any) -> inspect.Parameter:
    has_default = argument.has_default_value()
    return inspect.Parameter(
        argument.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=argument.default_value if has_default else inspect.Parameter.empty,
    )


def argument_names(module: nn.Module) -> list[str]:
    """Names of the arguments of ``forward`` that may be given by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in forward_parameters(module) if p.kind in kinds]


def flat_module(module: nn.Module, signature: Signature, *, keep_structure: bool = False) -> nn.Module:
    """View a module through a signature.

    The view has the module's own parameters under their own names and the class's own name, so that nothing an
    exporter records differs from the original. It is an instance of a subclass made for it, and shares its state.

    Args:
        module: The module; it is not changed.
        signature: Which inputs to take, in which order.
        keep_structure: Return what the module returns instead of a tuple of tensors.

    Returns:
        A module whose ``forward`` takes the inputs in order and returns the output tensors in order. A scripted
        module is returned as it is.

    Raises:
        UsageError: If a scripted module's arguments are in another order than the signature's inputs.
    """
    names = python_names([spec.name for spec in signature.inputs])
    if isinstance(module, torch.jit.ScriptModule):
        if argument_names(module)[: len(names)] != names:
            raise UsageError(
                f"The inputs {', '.join(names)} are not the first arguments of the scripted forward, which takes "
                f"{', '.join(argument_names(module))}.",
                "Give an --input for every argument up to the last that is used.",
            )
        return module
    original = type(module)
    own = module.__dict__.get("forward")  # an instance may carry its own

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        value = own(**given) if own is not None else original.forward(self, **given)
        return value if keep_structure else tuple(tensor for _, tensor in flatten_outputs(value))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ["self", *names]]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    view_class = type(original.__name__, (original,), {"forward": forward, "__module__": original.__module__})
    view: nn.Module = object.__new__(view_class)
    view.__dict__.update({key: value for key, value in module.__dict__.items() if key != "forward"})
    return view
