"""Makes a PyTorch module of an ONNX file and writes its answers; `field.py` runs it in each engine's own environment.

``python benchmarks/run_to_module.py ENGINE MODEL.onnx CASES.npz ANSWERS.npz``. A module is an object of its process and
no file, so what is kept is what it answered: ``CASE/0``, ``CASE/1`` … in the order of its outputs, or ``CASE/error``.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

OLDER = ".opset15.onnx"
"""As in `field_models`, which cannot be imported in an environment without xport."""


def by_onnx2torch(path: Path) -> torch.nn.Module:
    """onnx2torch; where it does not know an operator of the file, the same model in an older opset gets its turn."""
    _lend_torchvision_its_operator()
    from onnx2torch import convert

    older = path.with_suffix(OLDER)
    try:
        return convert(str(path))
    except NotImplementedError as error:
        if not older.exists():
            raise
        print(f"as it is: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
    return convert(str(older))


@functools.cache
def _lend_torchvision_its_operator() -> None:
    """Define what torchvision's library would, where the registry's build of it does not load beside torch for CPUs.

    Without it onnx2torch could not even be imported. Greedy suppression as torchvision documents it: by falling score,
    a box falls if it overlaps one that is kept by more than the threshold.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return
    try:
        for path in Path(found.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(path))
    except OSError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # only has to be there
        library.impl("nms", _nms, "CPU")
        _KEPT.append(library)
        import torchvision

        torchvision.extension._has_ops = lambda: True


_KEPT: list[torch.library.Library] = []
"""A library that is forgotten takes its operators along."""


def _nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    kept: list[int] = []
    area = (dets[:, 2] - dets[:, 0]) * (dets[:, 3] - dets[:, 1])
    for index in scores.argsort(descending=True, stable=True).tolist():
        low = torch.maximum(dets[kept, :2], dets[index, :2])
        high = torch.minimum(dets[kept, 2:], dets[index, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        if not bool((shared / (area[kept] + area[index] - shared) > iou_threshold).any()):
            kept.append(index)
    return torch.tensor(kept, dtype=torch.int64)


def by_xport(path: Path, verify: bool) -> torch.nn.Module:
    """`xport.to_module`."""
    import xport

    return xport.to_module(path, verify=verify)


ENGINES = {
    "onnx2torch": by_onnx2torch,
    "xport": lambda path: by_xport(path, verify=True),
    "xport --no-verify": lambda path: by_xport(path, verify=False),
}


def main() -> None:
    """Convert and answer: ENGINE MODEL.onnx CASES.npz ANSWERS.npz."""
    engine, model, file, target = sys.argv[1:]
    module = ENGINES[engine](Path(model)).eval()
    cases: dict[str, list[torch.Tensor]] = {}
    for key, array in np.load(file).items():
        cases.setdefault(key.partition("/")[0], []).append(torch.from_numpy(array))
    answers: dict[str, np.ndarray] = {}
    for case, tensors in cases.items():
        try:
            with torch.no_grad():
                given = module(*tensors)
        except Exception as error:  # told in the table as what became of this case
            answers[f"{case}/error"] = np.array(" ".join(f"{type(error).__name__}: {error}".split())[:160])
            continue
        outputs = [given] if torch.is_tensor(given) else list(given)
        answers |= {f"{case}/{index}": tensor.numpy() for index, tensor in enumerate(outputs)}
    np.savez(target, **answers)


if __name__ == "__main__":
    main()
