"""PyTorch source written by xport. Needs PyTorch alone: `from model import load; model = load()`."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """A part of the model, used 16 times."""

    def __init__(self, in_channels: int, width: int, stride: int, downsample: bool = False) -> None:
        super().__init__()
        self.downsample = (
            nn.Sequential(nn.Conv2d(in_channels, 4 * width, 1, stride=stride, bias=False), nn.BatchNorm2d(4 * width))
            if downsample
            else nn.Identity()
        )
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        downsample = self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y)) + downsample
        return F.relu(y)


class ResNet(nn.Module):
    """The model.

    Takes:
        image: float32 [batch, 3, 224, 224]

    Gives:
        logits: float32 [batch, 1000]
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.stages = nn.Sequential(
            Bottleneck(64, 64, 1, downsample=True),
            Bottleneck(256, 64, 1),
            Bottleneck(256, 64, 1),
            Bottleneck(256, 128, 2, downsample=True),
            *[Bottleneck(512, 128, 1) for _ in range(3)],
            Bottleneck(512, 256, 2, downsample=True),
            *[Bottleneck(1024, 256, 1) for _ in range(5)],
            Bottleneck(1024, 512, 2, downsample=True),
            Bottleneck(2048, 512, 1),
            Bottleneck(2048, 512, 1),
        )
        self.fc = nn.Linear(2048, 1000)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(image)))  # [batch, 64, 112, 112]
        x = self.stages(F.max_pool2d(x, 3, stride=2, padding=1))  # [batch, 2048, 7, 7]
        return self.fc(x.mean(dim=(2, 3), keepdim=True).flatten(1))


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


def load(path: Path | None = None) -> ResNet:
    """Build the model with its weights, those beside this file by default; ``train()`` gets it ready for training."""
    model = ResNet()
    model.load_state_dict(read_weights(path or Path(__file__).with_name("model.safetensors")), assign=True)
    return model.eval()
