"""The interface of a served model, out of what servers tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xport.errors import ServingError
from xport.serve.protocols import v2_tensors
from xport.serve.protocols.tf_dtypes import DTYPE_ENUMS
from xport.signature import DTYPES, Dim, Signature, TensorSpec
from xport.tf_protos import DTYPE_OF_DATA_TYPE

_DTYPE_OF_ENUM = {enum: name for name, enum in DTYPE_ENUMS.items()}
BATCH = "batch"


def from_v2(metadata: Mapping[str, Any]) -> Signature:
    """The interface in V2 metadata, over REST.

    Raises:
        ServingError: If it is not what the protocol says.
    """
    try:
        inputs, outputs = (
            [_spec(row["name"], v2_tensors.dtype_of(row["datatype"]), row["shape"]) for row in metadata[side]]
            for side in ("inputs", "outputs")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ServingError(f"The server's metadata has no inputs and outputs: {error}", code="INTERNAL") from error
    return batched(inputs, outputs)


def from_tf(definition: Mapping[str, Any]) -> Signature:
    """The interface in a signature of TF Serving's metadata, over REST.

    Raises:
        ServingError: If it is not what the protocol says.
    """
    try:
        inputs, outputs = (
            [_from_info(name, info) for name, info in (definition.get(side) or {}).items()]
            for side in ("inputs", "outputs")
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ServingError(f"The server's metadata has no inputs and outputs: {error}", code="INTERNAL") from error
    return batched(inputs, outputs)


def _from_info(name: str, info: Mapping[str, Any]) -> TensorSpec:
    dtype = _DTYPE_OF_ENUM.get(str(info["dtype"]).removesuffix("_REF"), "")
    if not dtype:
        raise ServingError(
            f"The tensor {name!r} has the dtype {info['dtype']}, which xport does not know.", code="INTERNAL"
        )
    shape = info.get("tensor_shape") or {}
    if shape.get("unknown_rank"):
        return TensorSpec(name, dtype, None)
    return _spec(name, dtype, [int(dim["size"]) for dim in shape.get("dim", ())])


def from_tf_proto(definition: Any) -> Signature:
    """The interface in a ``SignatureDef``.

    Raises:
        ServingError: If it has a dtype that xport does not know.
    """
    sides = []
    for side in (definition.inputs, definition.outputs):
        specs = []
        for name, info in sorted(side.items()):
            if info.dtype not in DTYPE_OF_DATA_TYPE:
                raise ServingError(
                    f"The tensor {name!r} has the DataType {info.dtype}, which xport does not know.", code="INTERNAL"
                )
            dtype = DTYPE_OF_DATA_TYPE[info.dtype]
            sizes = [dim.size for dim in info.tensor_shape.dim]
            specs.append(TensorSpec(name, dtype, None) if info.tensor_shape.unknown_rank else _spec(name, dtype, sizes))
        sides.append(specs)
    return batched(*sides)


def _spec(name: str, dtype: str, sizes: Sequence[int]) -> TensorSpec:
    """A spec whose free sizes have names of their own: nothing says that any two are equal."""
    _check_known(dtype)
    shape = tuple(f"{name}_dim{axis}" if int(size) < 0 else int(size) for axis, size in enumerate(sizes))
    return TensorSpec(str(name), dtype, shape)


def _check_known(dtype: str) -> None:
    """Refuse a dtype that is no dtype of a signature.

    Raises:
        ServingError: If it is none.
    """
    if dtype not in DTYPES:
        raise ServingError(
            f"The server's metadata names the dtype {dtype!r}, which xport does not know.", code="INTERNAL"
        )


def batched(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Signature:
    """The interface where the leading free size of every input is taken for the batch.

    Servers do not name sizes. That all inputs lead with the same one is what row form and batching rely on; where an
    input leads with a number, nothing is assumed.
    """
    leads = [spec.shape[0] for spec in inputs if spec.shape]
    if not leads or any(isinstance(size, int) for size in leads):
        return Signature(tuple(inputs), tuple(outputs))
    named = [[_led(spec) for spec in side] for side in (inputs, outputs)]
    return Signature(tuple(named[0]), tuple(named[1]))


def _led(spec: TensorSpec) -> TensorSpec:
    if spec.shape and isinstance(spec.shape[0], str):
        return TensorSpec(spec.name, spec.dtype, (BATCH, *spec.shape[1:]))
    return spec


def merged(told: Signature | None, known: Signature | None) -> Signature | None:
    """What a server tells, with the order and the names of sizes that somebody else knows, where the two agree.

    Args:
        told: By the server; None where it does not tell.
        known: By the artifact that the server is thought to serve.

    Returns:
        The interface; None if nobody tells. What contradicts ``known`` stays as the server tells it.
    """
    if told is None or known is None:
        return told or known
    sides = []
    for own, other in ((told.inputs, known.inputs), (told.outputs, known.outputs)):
        theirs = {spec.name: spec for spec in other}
        place = {spec.name: position for position, spec in enumerate(other)}
        specs = sorted(own, key=lambda spec: place.get(spec.name, len(place)))
        sides.append(tuple(_merged(spec, theirs.get(spec.name)) for spec in specs))
    return Signature(*sides)


def _merged(told: TensorSpec, known: TensorSpec | None) -> TensorSpec:
    if known is None or known.dtype != told.dtype or known.shape is None:
        return told
    # V2 has no word for an unknown rank: no sizes may mean that.
    if not told.shape:
        return known
    if len(told.shape) != len(known.shape):
        return told
    sizes: list[Dim] = [
        theirs if isinstance(own, str) else own for own, theirs in zip(told.shape, known.shape, strict=True)
    ]
    return TensorSpec(told.name, told.dtype, tuple(sizes))
