"""Blocks of space in the batch, which is also how TensorFlow writes convolutions with dilation.

``SpaceToBatchND``, a convolution with neither stride nor padding, and ``BatchToSpaceND`` are one with dilation: the
blocks' sizes are the dilation, and what is cut off behind is as if it had never been padded, since every element of the
result looks forward only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xport.convert.importing import shaping, slicing, spatial
from xport.convert.importing.tensor import Tensor
from xport.convert.importing.tf_loops import source
from xport.convert.importing.tf_registry import Call, op
from xport.convert.importing.tf_shapes import ints

_CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")


@op("SpaceToBatchND")
def _space_to_batch(c: Call) -> Tensor:
    return spatial.space_to_batch(c.w, c.x, ints(c.inputs[1], "A block"), c.inputs[2])


@op("BatchToSpaceND")
def _batch_to_space(c: Call) -> Tensor:
    block = ints(c.inputs[1], "A block")
    found = _dilated(c, block)
    return spatial.batch_to_space(c.w, c.x, block, c.inputs[2]) if found is None else _convolution(c, found, block)


@dataclass(frozen=True)
class _Dilated:
    """A convolution among blocks.

    Attributes:
        blocks: The ``SpaceToBatchND``.
        conv: The convolution, which may have an axis of its own for a sequence's missing height.
        lifted: That axis; -1 for none.
    """

    blocks: Any
    conv: Any
    lifted: int


def _dilated(c: Call, block: list[int]) -> _Dilated | None:
    """What a ``BatchToSpaceND`` ends; None if that is no convolution with dilation."""
    last = source(c.op.inputs[0])
    conv = source(last.inputs[0]) if last.type == "Squeeze" else last
    if conv.type not in _CONVOLUTIONS or not _plain(conv):
        return None
    rank, lifted = len(conv.get_attr("strides")), -1
    before = source(conv.inputs[0])
    if last.type == "Squeeze":
        if before.type != "ExpandDims":
            return None
        axes = [int(axis) % rank for axis in last.get_attr("squeeze_dims")]
        lifted = ints(c.values[before.inputs[1].name], "The axis")[0] % rank
        if axes != [lifted] or lifted != 1:
            return None
        before = source(before.inputs[0])
    if before.type != "SpaceToBatchND" or rank - 2 - (lifted > 0) != len(block):
        return None
    same = ints(c.values[before.inputs[1].name], "A block") == block
    return _Dilated(before, conv, lifted) if same else None


def _plain(conv: Any) -> bool:
    """Whether a convolution of images with the channels last has neither stride, padding nor dilation."""
    ones = all(int(n) == 1 for name in ("strides", "dilations") for n in conv.get_attr(name))
    return bool(ones and conv.get_attr("padding") == b"VALID" and not conv.get_attr("data_format").startswith(b"NC"))


def _convolution(c: Call, found: _Dilated, block: list[int]) -> Tensor:
    x, paddings, crops = c.values[found.blocks.inputs[0].name], c.values[found.blocks.inputs[2].name], c.inputs[2]
    kernel = c.values[found.conv.inputs[1].name]
    net = _net(c, found.blocks.inputs[2], c.op.inputs[2], len(block))
    rows, cut = (np.zeros((len(block), 2), np.int64), True) if net is None or (net < 0).any() else (net, False)
    if cut:
        x = slicing.pad(c.w, x, spatial.all_axes(c.w, x, paddings))
    if found.lifted >= 0:
        x = shaping.unsqueeze(c.w, x, [found.lifted])
        rows, block = np.concatenate([[[0, 0]], rows]), [1, *block]
    made = spatial.conv(
        c.w, x, kernel, strides=[1] * len(block), mode="EXPLICIT", dilations=block,
        explicit=[(int(a), int(b)) for a, b in rows], depthwise=found.conv.type.startswith("Depthwise"),
    )  # fmt: skip
    made = shaping.squeeze(c.w, made, [found.lifted]) if found.lifted >= 0 else made
    return spatial.cropped(c.w, made, crops) if cut else made


def _net(c: Call, paddings: Any, crops: Any, count: int) -> np.ndarray | None:
    """How much more is padded than is cut off at each end; None if only run time knows."""
    known = [c.values[t.name].const for t in (paddings, crops)]
    if known[0] is not None and known[1] is not None:
        return known[0].astype(np.int64) - known[1].astype(np.int64)
    rows = [_scalars(c, t, count) for t in (paddings, crops)]
    if rows[0] is None or rows[1] is None:
        return None
    found = [_difference(c, a, b) for a, b in zip(*rows, strict=True)]
    return None if None in found else np.asarray(found, np.int64).reshape(count, 2)


def _scalars(c: Call, tensor: Any, count: int) -> list[Any] | None:
    """The numbers that a table of ``count`` rows of two is put together from."""
    op_ = source(tensor)
    while op_.type == "StridedSlice" and _whole(c, op_, count):
        op_ = source(op_.inputs[0])
    if op_.type != "Pack" or len(op_.inputs) != count:
        return None
    rows = [source(t) for t in op_.inputs]
    if any(row.type != "Pack" or len(row.inputs) != 2 for row in rows):
        return None
    return [t for row in rows for t in row.inputs]


def _constants(c: Call, tensors: Sequence[Any]) -> list[np.ndarray] | None:
    """The contents of tensors, if all are known."""
    found = [c.values[t.name].const for t in tensors]
    return None if any(x is None for x in found) else [x for x in found if x is not None]


def _whole(c: Call, op_: Any, count: int) -> bool:
    """Whether a slice takes all of ``count`` rows."""
    plain = not any(op_.get_attr(f"{n}_mask") for n in ("ellipsis", "new_axis", "shrink_axis"))
    known = _constants(c, op_.inputs[1:])
    return plain and known is not None and [x.tolist() for x in known] == [[0], [count], [1]]


def _difference(c: Call, pad: Any, crop: Any) -> int | None:
    """``pad - crop``, where a pad that varies is a constant and the crop: ``(constant + rest)[i] - rest[i]``."""
    a, b = c.values[pad.name].const, c.values[crop.name].const
    if a is not None and b is not None:
        return int(a) - int(b)
    left, right = source(pad), source(crop)
    if left.type != "StridedSlice" or right.type != "StridedSlice":
        return None
    places = [_constants(c, o.inputs[1:]) for o in (left, right)]
    if places[0] is None or places[1] is None:
        return None
    if [x.tolist() for x in places[0]] != [x.tolist() for x in places[1]]:
        return None
    total, rest = source(left.inputs[0]), source(right.inputs[0])
    if total.type not in ("Add", "AddV2") or total.get_attr("T") != rest.get_attr("T"):
        return None
    for i in (0, 1):
        base = c.values[total.inputs[1 - i].name].const
        if source(total.inputs[i]).name == rest.name and base is not None and base.ndim == 1:
            return int(base[int(places[0][0].reshape(-1)[0])])
    return None
