"""Functions that are written beside a model: what PyTorch has no operator for."""

from __future__ import annotations

READ = '''\
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file: the length of a JSON header, the header, and the tensors one after the other."""
    tensors = {}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + length + begin)
            data, dtype = bytearray(file.read(end - begin)), _DTYPES[entry["dtype"]]
            flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def load(path: Path | None = None) -> NAME:
    """Build the model with its weights, those beside this file by default; ``train()`` gets it ready for training."""
    model = NAME()
    model.load_state_dict(read_weights(path or Path(__file__).with_name("model.safetensors")), assign=True)
    return model.eval()
'''
"""What reads the weights."""

FUNCTIONS = {
    "pad_same": '''\
def pad_same(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], lower: bool, value: float = 0.0
) -> Tensor:
    """Pad so that a window with a stride gives ceil(size / stride) results, the odd element at the end or, with
    ``lower``, at the beginning."""
    amounts: list[int] = []
    for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        amounts = [large, small, *amounts] if lower else [small, large, *amounts]
    return F.pad(x, amounts, value=value)
''',
    "corners_of": '''\
def corners_of(boxes: Tensor) -> Tensor:
    """Boxes given by centre, width and height as corners (y1, x1, y2, x2)."""
    x, y, width, height = boxes.unbind(-1)
    return torch.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], dim=-1)
''',
    "non_max_suppression": '''\
def overlap(box: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of a box with others, given by two opposite corners each."""
    low, high = torch.minimum(box[:2], box[2:]), torch.maximum(box[:2], box[2:])
    lows, highs = torch.minimum(others[:, :2], others[:, 2:]), torch.maximum(others[:, :2], others[:, 2:])
    inner = (torch.minimum(high, highs) - torch.maximum(low, lows)).clamp(min=0).prod(dim=1)
    union = (high - low).prod() + (highs - lows).prod(dim=1) - inner
    return torch.where(union > 0, inner / union, 0.0)


def non_max_suppression(
    boxes: Tensor, scores: Tensor, limit: int, iou_threshold: float, score_threshold: float | None = None
) -> Tensor:
    """Choose boxes by their scores, for each class alone, without those that overlap a better one.

    Args:
        boxes: Corners, [batch, boxes, 4].
        scores: [batch, classes, boxes].
        limit: Most boxes of a class in a sample.
        iou_threshold: Overlap above which the box with the lower score goes.
        score_threshold: Only boxes with a score above it are considered.

    Returns:
        Rows (sample, class, box), [chosen, 3].
    """
    rows = []
    for sample in range(scores.shape[0]):
        for kind in range(scores.shape[1]):
            order = scores[sample, kind].argsort(descending=True, stable=True)
            if score_threshold is not None:
                order = order[scores[sample, kind][order] > score_threshold]
            chosen = 0
            while len(order) > 0 and chosen < limit:
                best, order = order[0], order[1:]
                rows.append(torch.stack([torch.full_like(best, sample), torch.full_like(best, kind), best]))
                order = order[overlap(boxes[sample, best], boxes[sample, order]) <= iou_threshold]
                chosen += 1
    return torch.stack(rows) if rows else torch.zeros((0, 3), dtype=torch.int64, device=boxes.device)
''',
}
"""By name, in the order in which they are written."""
