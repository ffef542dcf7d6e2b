"""Resizing and sampling, where PyTorch's own gives exactly what ONNX asks for."""

from __future__ import annotations

from typing import Any

from xport.convert.writing.code import Code, call, plain
from xport.convert.writing.node import NodeView
from xport.convert.writing.registry import emit, refuse
from xport.convert.writing.translator import python_number

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@emit("Resize", "Upsample")
def resize(node: NodeView) -> Any:
    """To given sizes or by given factors."""
    rank = node.rank()
    factors, sizes = _wanted(node, rank)
    if factors is not None and all(f == 1 for f in factors):
        return node.entry(0)
    if rank not in (3, 4, 5):
        raise refuse(f"{rank} axes")
    named: dict[str, Any] = {}
    if sizes is not None:
        if not _untouched(node, sizes):
            raise refuse("other sizes along batch or channels")
        named["size"] = tuple(sizes[2:])
    elif factors is not None:
        if factors[:2] != [1, 1]:
            raise refuse("factors along batch or channels")
        spatial = factors[2:]
        named["scale_factor"] = spatial[0] if len(set(spatial)) == 1 else tuple(spatial)
    known = _known_factors(node, factors, sizes)
    return call("F.interpolate", node.x(), **named, **_mode(node, rank - 2, known))


def _untouched(node: NodeView, sizes: list[Any]) -> bool:
    from xport.convert.writing.sizes import same

    return all(same(node.size(0, i), sizes[i]) for i in range(2))


def _wanted(node: NodeView, rank: int) -> tuple[list[float] | None, list[Any] | None]:
    if node.kind == "Upsample" or node.version == 10:
        given = node.attr("scales") if node.version < 9 else _numbers(node, 1)
        return [float(f) for f in given], None
    if node.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise refuse("keeping the ratio of the sides")
    axes = [node.axis(a) for a in node.attr("axes", list(range(rank)))]
    if node.has(3) and node.shape(3) != (0,):
        full: list[Any] = [node.size(0, i) for i in range(rank)]
        for axis, size in zip(axes, node.sizes(3), strict=True):
            full[axis] = size
        return None, full
    factors = [1.0] * rank
    for axis, factor in zip(axes, _numbers(node, 2), strict=True):
        factors[axis] = factor
    return factors, None


def _numbers(node: NodeView, i: int) -> list[float]:
    array = node.static(i, "factors")
    return [float(python_number(array.reshape(-1)[j : j + 1])) for j in range(array.size)]


def _known_factors(node: NodeView, factors: list[float] | None, sizes: list[Any] | None) -> list[float] | None:
    """The factors of the spatial axes, where they are known."""
    if factors is not None:
        return factors[2:]
    own = [node.size(0, i) for i in range(len(sizes or ()))]
    pairs = list(zip(own, sizes or (), strict=True))[2:]
    if all(isinstance(a, int) and isinstance(b, int) for a, b in pairs):
        return [b / a for a, b in pairs]
    return None


def _mode(node: NodeView, axes: int, factors: list[float] | None) -> dict[str, Any]:
    """PyTorch's mode for ONNX's; refused where they are not the same numbers."""
    mode = node.attr("mode", "nearest")
    where = node.attr("coordinate_transformation_mode", "half_pixel") if node.version >= 11 else "asymmetric"
    if node.kind == "Upsample":
        where = "asymmetric"
    antialias = {"antialias": True} if node.attr("antialias", 0) else {}
    same = factors is not None and all(f == 1 for f in factors)
    if mode == "nearest":
        return {"mode": plain(f'"{_nearest(node, where, factors)}"')}
    if mode == "cubic" and (axes != 2 or node.attr("cubic_coeff_a", -0.75) != -0.75 or node.attr("exclude_outside", 0)):
        raise refuse("cubic weights other than PyTorch's")
    if antialias and axes != 2:
        raise refuse("antialias over other than two axes")
    text = plain('"bicubic"') if mode == "cubic" else plain(f'"{_LINEAR[axes]}"')
    if where == "align_corners":
        return {"mode": text, "align_corners": True, **antialias}
    if where in ("half_pixel", "pytorch_half_pixel") or same:
        return {"mode": text, **antialias}
    raise refuse(f"{mode} with coordinates {where}")


def _nearest(node: NodeView, where: str, factors: list[float] | None) -> str:
    rounding = node.attr("nearest_mode", "round_prefer_floor") if node.version >= 11 else "floor"
    if node.kind == "Upsample":
        rounding = "floor"
    if where == "asymmetric" and rounding == "floor":
        return "nearest"
    whole = factors is not None and all(f >= 1 and float(f).is_integer() for f in factors)
    if where == "asymmetric" and whole and rounding == "round_prefer_floor" and max(factors or [3]) <= 2:
        return "nearest"
    # Ties, where the two roundings differ, do not occur for whole factors.
    exact = rounding == "round_prefer_ceil" or (rounding == "round_prefer_floor" and whole)
    if where in ("half_pixel", "pytorch_half_pixel") and exact:
        return "nearest-exact"
    if where == "tf_half_pixel_for_nn" and rounding == "floor":
        return "nearest-exact"
    raise refuse(f"nearest with coordinates {where} and rounding {rounding}")


@emit("GridSample")
def grid_sample(node: NodeView) -> Code:
    """Samples at given places."""
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(node.attr("mode", "bilinear"), node.attr("mode", "bilinear"))
    around = node.attr("padding_mode", "zeros")
    if mode not in ("bilinear", "bicubic", "nearest") or around not in ("zeros", "border", "reflection"):
        raise refuse(f"mode {mode}, padding {around}")
    named = {"mode": plain(f'"{mode}"'), "padding_mode": plain(f'"{around}"')}
    return call("F.grid_sample", node.x(0), node.x(1), **named, align_corners=bool(node.attr("align_corners", 0)))
