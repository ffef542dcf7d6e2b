"""What a conversion starts from: a file, a model of the zoo, or a live module."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xport.errors import UsageError
from xport.formats import FORMAT_OF_CONTENT, Content, Format, detect, spelled_in_utf8
from xport.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from xport.serve.clients.address import Served

ZOO_PREFIX = "zoo:"
_ZOO_SIZES = ("real", "small")


@dataclass(frozen=True)
class Source:
    """An opened source: where the model is and what the user said about it.

    A source made of a path or a zoo name is plain data, so it can be sent to a worker, which loads the model there.

    Attributes:
        format: How the model is stored.
        content: What the file holds; None for a live module or a zoo model.
        path: The file or folder; None for a live module or a zoo model.
        module: A live `torch.nn.Module`, otherwise None.
        zoo: ``name@size`` of a zoo model, otherwise None.
        arch: ``package.module:factory`` that builds the module a state dict belongs to.
        trust_pickle: Whether the user allows the file to run code while it is opened.
        inputs: The inputs as the user gave them, in any order; empty if they are to be derived.
        output_names: The outputs' names as the user gave them; empty if they are to be derived.
        example_inputs: Arrays or tensors by input name, or a tuple of them in the order of ``forward``.
        signature_name: Which signature of a SavedModel is meant; None for its default one.
        served: A model behind an endpoint, otherwise None.
        interface: Inputs and outputs, where they are known already: runners then take them as they are.
    """

    format: Format
    content: Content | None
    path: Path | None
    module: Any = None
    zoo: str | None = None
    arch: str | None = None
    trust_pickle: bool = False
    inputs: tuple[TensorSpec, ...] = ()
    output_names: tuple[str, ...] = ()
    example_inputs: Any = None
    signature_name: str | None = None
    served: Served | None = None
    interface: Signature | None = None

    @property
    def name(self) -> str:
        """What messages call it: the path, the zoo name, the URL, or the module's class."""
        if self.served is not None:
            return self.served.name
        if self.path is not None:
            return str(self.path)
        if self.zoo is not None:
            return ZOO_PREFIX + self.zoo
        return type(self.module).__name__

    @property
    def live(self) -> bool:
        """Whether the model exists only in this process."""
        return self.module is not None


def open_source(
    source: Any,
    *,
    arch: str | None = None,
    trust_pickle: bool = False,
    inputs: Iterable[TensorSpec | str] = (),
    example_inputs: Any = None,
    output_names: Iterable[str] = (),
    signature: str | None = None,
) -> Source:
    """Find out what the user named, without loading it.

    Args:
        source: A path, ``zoo:name`` or ``zoo:name@small`` (the real size by default), or a `torch.nn.Module`.
        arch: ``package.module:factory`` for a state dict.
        trust_pickle: Allow code in the file to run.
        inputs: Input specs, also as text (``x:float32[batch,3,224,224]``).
        example_inputs: Arrays or tensors by name, or a tuple in the order of ``forward``; one alone for one input.
        output_names: Names for the outputs, in order.
        signature: Which signature of a SavedModel is meant.

    Returns:
        The source.

    Raises:
        UnreadableModelError: If the file is missing, empty, broken or not a model.
        UsageError: If an argument is malformed or does not fit the kind of source.
    """
    specs = tuple(TensorSpec.parse(spec) if isinstance(spec, str) else spec for spec in inputs)
    _check_unique("input", [spec.name for spec in specs])
    names = tuple(output_names)
    _check_unique("output", names)
    common: dict[str, Any] = {"inputs": specs, "output_names": names, "example_inputs": example_inputs}
    opened = _open(source, arch, trust_pickle, common)
    if signature is None:
        return opened
    if opened.format is not Format.SAVEDMODEL:
        raise UsageError(f"{opened.name} is {opened.format.value}, which has no signatures.", "Leave --signature out.")
    return replace(opened, signature_name=signature)


def _open(source: Any, arch: str | None, trust_pickle: bool, common: dict[str, Any]) -> Source:
    if isinstance(source, str) and source.startswith(ZOO_PREFIX):
        return _zoo_source(source, arch, common)
    if isinstance(source, str | Path):
        return _file_source(Path(source), arch, trust_pickle, common)
    return _live_source(source, arch, common)


def _check_unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"The {what} {name!r} is given twice.", f"Name each {what} once.")
        seen.add(name)


def _zoo_source(text: str, arch: str | None, common: dict[str, Any]) -> Source:
    from xport.models import names

    name, _, size = text.removeprefix(ZOO_PREFIX).partition("@")
    size = size or _ZOO_SIZES[0]
    if name not in names():
        raise UsageError(f"There is no zoo model named {name!r}.", f"Use one of zoo:{', zoo:'.join(names())}.")
    if size not in _ZOO_SIZES:
        raise UsageError(f"There is no zoo size {size!r}.", f"Write zoo:{name}@small or zoo:{name}@real.")
    if arch is not None:
        raise UsageError("A zoo model brings its own architecture.", "Leave --arch out.")
    return Source(Format.PYTORCH, None, None, zoo=f"{name}@{size}", **common)


def _file_source(path: Path, arch: str | None, trust_pickle: bool, common: dict[str, Any]) -> Source:
    content = detect(spelled_in_utf8(path))
    if arch is not None:
        _check_arch(path, content, arch)
    elif content is Content.SAFETENSORS:
        raise UsageError(
            f"{path} holds only weights (safetensors); the code that builds the model is needed too.",
            "Name the class or function that builds it: --arch package.module:factory",
        )
    return Source(FORMAT_OF_CONTENT[content], content, path, arch=arch, trust_pickle=trust_pickle, **common)


def _check_arch(path: Path, content: Content, arch: str) -> None:
    module, _, factory = arch.partition(":")
    if not module or not factory:
        raise UsageError(
            f"Malformed architecture {arch!r}: expected package.module:factory.",
            "For a class Net in model.py write --arch model:Net",
        )
    if FORMAT_OF_CONTENT[content] is not Format.PYTORCH:
        raise UsageError(f"{path} is a {content.value} file, which brings its own architecture.", "Leave --arch out.")


def _live_source(module: Any, arch: str | None, common: dict[str, Any]) -> Source:
    bases = {f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__}
    if "torch.nn.modules.module.Module" not in bases:
        raise UsageError(
            f"Expected a path, a zoo: name or a torch.nn.Module, got {type(module).__name__}.",
            "For an exported program or anything else, save it to a file and give its path.",
        )
    if arch is not None:
        raise UsageError("A live module brings its own architecture.", "Leave arch= out.")
    scripted = "torch.jit._script.ScriptModule" in bases or "torch.jit._script.RecursiveScriptModule" in bases
    return Source(Format.TORCHSCRIPT if scripted else Format.PYTORCH, None, None, module=module, **common)
