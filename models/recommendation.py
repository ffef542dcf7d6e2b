"""Neural collaborative filtering (NeuMF): a product of embeddings beside a perceptron over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from xport.models.base import ReferenceModule, by_size
from xport.models.spec import InputSpec, Size


class NeuralCollaborativeFiltering(ReferenceModule):
    """The network of He et al., 2017.

    Args:
        users: Number of user ids.
        items: Number of item ids.
        factors: Width of the product branch; the perceptron's embeddings are twice as wide.
    """

    outputs = ("score",)
    gains: ClassVar[Mapping[str, float]] = {"output.weight": 2.0}

    def __init__(self, users: int, items: int, factors: int) -> None:
        super().__init__()
        self.inputs = (
            InputSpec("user_ids", "int64", ("batch",), high=users),
            InputSpec("item_ids", "int64", ("batch",), high=items),
        )
        self.user_factors = nn.Embedding(users, factors)
        self.item_factors = nn.Embedding(items, factors)
        self.user_embedding = nn.Embedding(users, 2 * factors)
        self.item_embedding = nn.Embedding(items, 2 * factors)
        self.mlp = nn.Sequential(
            nn.Linear(4 * factors, 2 * factors),
            nn.ReLU(),
            nn.Linear(2 * factors, factors),
            nn.ReLU(),
        )
        self.output = nn.Linear(2 * factors, 1)

    def forward(self, user_ids: torch.Tensor, item_ids: torch.Tensor) -> torch.Tensor:
        """Score pairs of ids [batch] as probabilities [batch]."""
        product = self.user_factors(user_ids) * self.item_factors(item_ids)
        joined = torch.cat([self.user_embedding(user_ids), self.item_embedding(item_ids)], dim=-1)
        logit = self.output(torch.cat([product, self.mlp(joined)], dim=-1))
        return torch.sigmoid(logit).squeeze(-1)


def ncf(*, size: Size = "real") -> NeuralCollaborativeFiltering:
    """Build the recommender (real size: the users and items of MovieLens-1M)."""
    users, items, factors = by_size(size, small=(200, 150, 8), real=(6040, 3706, 64))
    return NeuralCollaborativeFiltering(users, items, factors)
