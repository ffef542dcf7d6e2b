"""BERT-style encoder (bert-base in the real size), with attention written out as matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from xport.models.base import ReferenceModule, by_size
from xport.models.spec import InputSpec, Size


class EncoderLayer(nn.Module):
    """Post-normalised attention and feed-forward.

    Args:
        width: Width of a token.
        heads: Attention heads.
        hidden: Width of the feed-forward layer.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attention_out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.mlp_in = nn.Linear(width, hidden)
        self.mlp_out = nn.Linear(hidden, width)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-12)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """Split [batch, sequence, width] into heads [batch, heads, sequence, width / heads]."""
        batch, sequence, width = x.shape
        return x.reshape(batch, sequence, self.heads, width // self.heads).transpose(1, 2)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Run the layer; `bias` is added to the attention scores."""
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
        mixed = torch.matmul(torch.softmax(scores + bias, dim=-1), value)
        mixed = mixed.transpose(1, 2).reshape(x.shape)
        x = self.attention_norm(x + self.attention_out(mixed))
        out: torch.Tensor = self.mlp_norm(x + self.mlp_out(F.gelu(self.mlp_in(x))))
        return out


class BertEncoder(ReferenceModule):
    """Embeddings, encoder layers and a pooler over the first token.

    Args:
        vocabulary: Number of token ids.
        positions: Longest sequence.
        width: Width of a token.
        depth: Number of layers.
        heads: Attention heads per layer.
    """

    outputs = ("last_hidden_state", "pooler_output")
    gains: ClassVar[Mapping[str, float]] = {"attention_out.weight": 0.7, "mlp_out.weight": 0.7}

    def __init__(self, vocabulary: int, positions: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.inputs = (
            InputSpec("input_ids", "int64", ("batch", "sequence"), high=vocabulary),
            InputSpec("attention_mask", "int64", ("batch", "sequence"), high=2, mask=True),
        )
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(positions, width)
        self.token_type = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, 4 * width) for _ in range(depth))
        self.pooler = nn.Linear(width, width)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode ids [batch, sequence] into states [batch, sequence, width] and a summary [batch, width]."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.token(input_ids) + self.position(positions) + self.token_type.weight[0])
        bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, bias)
        return x, torch.tanh(self.pooler(x[:, 0]))


def bert(*, size: Size = "real") -> BertEncoder:
    """Build the encoder (bert-base-uncased, 109,482,240 parameters in the real size)."""
    if by_size(size, small=True, real=False):
        return BertEncoder(vocabulary=1000, positions=128, width=64, depth=3, heads=4)
    return BertEncoder(vocabulary=30522, positions=512, width=768, depth=12, heads=12)
