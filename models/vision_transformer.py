"""Vision transformer (ViT-B/16 in the real size), with the fused attention of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from xport.models.base import ReferenceModule, by_size, image_input
from xport.models.spec import Size


class Block(nn.Module):
    """Pre-normalised attention and feed-forward.

    Args:
        width: Width of a token.
        heads: Attention heads.
        hidden: Width of the feed-forward layer.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp_in = nn.Linear(width, hidden)
        self.mlp_out = nn.Linear(hidden, width)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over all tokens with `scaled_dot_product_attention`."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: torch.Tensor = self.attention_out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        x = x + self.attend(self.norm1(x))
        out: torch.Tensor = x + self.mlp_out(F.gelu(self.mlp_in(self.norm2(x))))
        return out


class VisionTransformer(ReferenceModule):
    """Patches as tokens, a class token, learned positions, and a linear head on the class token.

    Args:
        side: Height and width of the image.
        patch: Height and width of a patch.
        width: Width of a token.
        depth: Number of blocks.
        heads: Attention heads per block.
        classes: Number of classes.
    """

    gains: ClassVar[Mapping[str, float]] = {"attention_out.weight": 0.7, "mlp_out.weight": 0.7}

    def __init__(self, side: int, patch: int, width: int, depth: int, heads: int, classes: int) -> None:
        super().__init__()
        self.inputs = image_input(3, side)
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, 4 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Classify images [batch, 3, side, side] into logits [batch, classes]."""
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        logits: torch.Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return logits


def vit(*, size: Size = "real") -> VisionTransformer:
    """Build the vision transformer (ViT-B/16, 86,567,656 parameters in the real size)."""
    if by_size(size, small=True, real=False):
        return VisionTransformer(side=32, patch=8, width=64, depth=3, heads=4, classes=10)
    return VisionTransformer(side=224, patch=16, width=768, depth=12, heads=12, classes=1000)
