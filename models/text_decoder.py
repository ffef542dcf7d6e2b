"""GPT-style causal decoder (gpt2-small in the real size)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from xport.models.base import ReferenceModule, by_size
from xport.models.spec import InputSpec, Size


class DecoderBlock(nn.Module):
    """Pre-normalised causal attention and feed-forward.

    Args:
        width: Width of a token.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Attend from every token to itself and those before it."""
        batch, sequence, width = x.shape
        parts = self.qkv(x).split(width, dim=-1)
        query, key, value = (
            part.reshape(batch, sequence, self.heads, width // self.heads).transpose(1, 2) for part in parts
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: torch.Tensor = self.attention_out(mixed.transpose(1, 2).reshape(batch, sequence, width))
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the block."""
        x = x + self.attend(self.norm1(x))
        out: torch.Tensor = x + self.mlp_out(F.gelu(self.mlp_in(self.norm2(x)), approximate="tanh"))
        return out


class GptDecoder(ReferenceModule):
    """Embeddings, decoder blocks and a head tied to the token embedding.

    Args:
        vocabulary: Number of token ids.
        positions: Longest sequence.
        width: Width of a token.
        depth: Number of blocks.
        heads: Attention heads per block.
    """

    gains: ClassVar[Mapping[str, float]] = {
        "token.weight": 0.08,
        "position.weight": 0.08,
        "attention_out.weight": 0.3,
        "mlp_out.weight": 0.3,
    }

    def __init__(self, vocabulary: int, positions: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.inputs = (InputSpec("input_ids", "int64", ("batch", "sequence"), high=vocabulary),)
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(positions, width)
        self.blocks = nn.Sequential(*(DecoderBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.token.weight

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Turn ids [batch, sequence] into logits of the next token [batch, sequence, vocabulary]."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.token(input_ids) + self.position(positions)
        logits: torch.Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def gpt(*, size: Size = "real") -> GptDecoder:
    """Build the decoder (gpt2-small, 124,439,808 parameters in the real size, head tied to the embedding)."""
    if by_size(size, small=True, real=False):
        return GptDecoder(vocabulary=1000, positions=128, width=64, depth=3, heads=4)
    return GptDecoder(vocabulary=50257, positions=1024, width=768, depth=12, heads=12)
