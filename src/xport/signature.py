"""What a model takes and gives: names, dtypes, shapes, in order."""

from __future__ import annotations

import functools
import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xport.errors import InputsError, UsageError

Dim = int | str
"""A size: a number, or the name of a symbol such as ``batch``."""

# numpy has no names for these; ml_dtypes registers them when it is imported.
_EXTENSION_DTYPES: tuple[str, ...] = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
_EXTENSION_DTYPES += ("int4", "uint4", "float4_e2m1fn", "float8_e8m0fnu", "int2", "uint2")
_NUMPY_DTYPES: tuple[str, ...] = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_NUMPY_DTYPES += ("float16", "float32", "float64", "complex64", "complex128")
DTYPES = (*_NUMPY_DTYPES, *_EXTENSION_DTYPES, "string")
"""Every dtype name that a signature may hold; ``string`` arrays are numpy object arrays of bytes or str."""

_SPEC = re.compile(r"^(?P<name>[^\[\]]+):(?P<dtype>\w+)(?:\[(?P<dims>[^\[\]]*)\])?$")


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype for a signature's dtype name.

    Args:
        name: One of `DTYPES`.

    Returns:
        The numpy dtype; ``object`` for ``string``; an ml_dtypes type for bfloat16, float8, int4.

    Raises:
        UsageError: If the name is not one of `DTYPES`.
    """
    if name == "string":
        return np.dtype(object)
    if name in _EXTENSION_DTYPES:
        import ml_dtypes

        extension: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return extension
    if name in _NUMPY_DTYPES:
        return np.dtype(name)
    raise UsageError(f"Unknown dtype {name!r}.", f"Use one of {', '.join(DTYPES)}.")


@functools.lru_cache(maxsize=256)
def dtype_name(dtype: np.dtype[Any]) -> str:
    """The signature's name of a numpy dtype: the inverse of `numpy_dtype`.

    Remembered, since numpy puts ``dtype.name`` together anew each time, which a server would feel.
    """
    return "string" if dtype.kind in "OSUT" else dtype.name


_MEANT = ("self", "torch", "nn", "F")
"""Names that mean something in the methods of a module."""


def python_names(names: Sequence[str]) -> list[str]:
    """Names that Python can use for arguments: legal ones stay, others as close as possible, all unique."""
    legal: list[str] = []
    for name in names:
        # Python reads identifiers in this form, and renames __names inside of classes.
        changed = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name))
        usable = changed.isidentifier() and not keyword.iskeyword(changed) and changed not in _MEANT
        changed = changed if usable and not changed.startswith("__") else f"x_{changed}"
        while changed in legal:
            changed += "_"
        legal.append(changed)
    return legal


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: The model's own name for it.
        dtype: One of `DTYPES`.
        shape: Sizes, a symbol's name where a size may vary; None where even the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None

    @classmethod
    def parse(cls, text: str) -> TensorSpec:
        """Read a spec as a user types it: ``x:float32[batch,3,224,224]`` (``x:float32[]`` is a scalar).

        Raises:
            UsageError: If the text has another form, an unknown dtype or a bad size.
        """
        match = _SPEC.match(text.strip())
        fix = "Write it like 'x:float32[batch,3,224,224]': name, dtype, sizes; a word is a dynamic size."
        if not match or match["dims"] is None:
            raise UsageError(f"Malformed input {text!r}.", fix)
        numpy_dtype(match["dtype"])
        dims = [part.strip() for part in match["dims"].split(",")] if match["dims"].strip() else []
        shape: list[Dim] = []
        for dim in dims:
            if re.fullmatch(r"\d+", dim):
                shape.append(int(dim))
            elif re.fullmatch(r"[A-Za-z_]\w*", dim):
                shape.append(dim)
            else:
                raise UsageError(f"Malformed size {dim!r} in input {text!r}.", fix)
        return cls(match["name"].strip(), match["dtype"], tuple(shape))

    def __str__(self) -> str:
        dims = "?" if self.shape is None else ",".join(map(str, self.shape))
        return f"{self.name}:{self.dtype}[{dims}]"

    def bind(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The concrete shape under an assignment of sizes to symbols.

        Raises:
            InputsError: If the rank is unknown or a symbol has no size.
        """
        if self.shape is None:
            raise InputsError(f"The rank of {self.name!r} is unknown.", f"Add --input '{self.name}:…[…]'.")
        try:
            return tuple(sizes[d] if isinstance(d, str) else d for d in self.shape)
        except KeyError as error:
            raise InputsError(f"No size given for the dynamic dimension {error} of {self}.") from error


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a model, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the inputs' dynamic dimensions, in order of appearance."""
        seen: dict[str, None] = {}
        for spec in self.inputs:
            seen.update({d: None for d in spec.shape or () if isinstance(d, str)})
        return tuple(seen)

    def to_json(self) -> dict[str, Any]:
        """A JSON form that `from_json` reads back."""

        def rows(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
            return [
                {"name": s.name, "dtype": s.dtype, "shape": None if s.shape is None else list(s.shape)} for s in specs
            ]

        return {"inputs": rows(self.inputs), "outputs": rows(self.outputs)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signature:
        """Read what `to_json` wrote.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is of another type.
            ValueError: If a dtype or a size is none.
        """

        def specs(rows: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
            return tuple(_spec(r["name"], r["dtype"], r["shape"]) for r in rows)

        return cls(specs(data["inputs"]), specs(data["outputs"]))

    def renamed(self, names: Mapping[str, str]) -> Signature:
        """The same under other names; a tensor that ``names`` does not have keeps its own."""

        def side(specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
            return tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in specs)

        return Signature(side(self.inputs), side(self.outputs))

    def check(self, inputs: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Check named arrays against the inputs' specs.

        Args:
            inputs: Arrays by input name.

        Returns:
            The size that each symbol has in these arrays.

        Raises:
            InputsError: Naming the first missing, unexpected or unfitting tensor.
        """
        wanted = [spec.name for spec in self.inputs]
        listing = "The inputs are " + ", ".join(map(str, self.inputs)) + "."
        for name in wanted:
            if name not in inputs:
                raise InputsError(f"Input {name!r} is missing.", listing)
        for name in inputs:
            if name not in wanted:
                raise InputsError(f"Unknown input {name!r}.", listing)
        sizes: dict[str, int] = {}
        for spec in self.inputs:
            _check_tensor(spec, np.asarray(inputs[spec.name]), sizes)
        return sizes


def _spec(name: Any, dtype: Any, shape: Any) -> TensorSpec:
    """A spec as JSON has it."""
    if not isinstance(name, str) or not isinstance(shape, list | None):
        raise TypeError(f"a tensor has the name {name!r:.100} and the shape {shape!r:.100}")
    if dtype not in DTYPES or any(
        not isinstance(dim, str) and (type(dim) is not int or dim < 0) for dim in shape or ()
    ):
        raise ValueError(f"{name!r:.100} has the dtype {dtype!r:.100} and the shape {shape!r:.100}")
    return TensorSpec(name, dtype, None if shape is None else tuple(shape))


def _check_tensor(spec: TensorSpec, array: np.ndarray, sizes: dict[str, int]) -> None:
    """Check one array and record the sizes of its symbols in ``sizes``."""
    if dtype_name(array.dtype) != spec.dtype:
        raise InputsError(
            f"Input {spec.name!r} has dtype {dtype_name(array.dtype)}, expected {spec.dtype}.",
            f"Convert it: x.astype({spec.dtype!r}).",
        )
    if spec.shape is None:
        return
    if array.ndim != len(spec.shape):
        raise InputsError(f"Input {spec.name!r} has shape {list(array.shape)}, expected {spec}.")
    for size, dim in zip(array.shape, spec.shape, strict=True):
        expected = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
        if size != expected:
            raise InputsError(
                f"Input {spec.name!r} has shape {list(array.shape)}, expected {spec}"
                + (f" with {dim}={expected}." if isinstance(dim, str) else ".")
            )
