"""Recurrent networks on the stock `nn.GRU` and `nn.LSTM`: a text classifier and a translator."""

from __future__ import annotations

import torch
from torch import nn

from xport.models.base import ReferenceModule, by_size
from xport.models.spec import InputSpec, Size


class GRUClassifier(ReferenceModule):
    """Embedding, two bidirectional GRU layers, and a linear layer over the last states of both directions.

    Args:
        vocabulary: Number of token ids.
        embedding: Width of a token.
        hidden: Width of a GRU state.
        classes: Number of classes.
    """

    def __init__(self, vocabulary: int, embedding: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.inputs = (InputSpec("input_ids", "int64", ("batch", "sequence"), high=vocabulary),)
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.gru = nn.GRU(embedding, hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * hidden, classes)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Classify ids [batch, sequence] into logits [batch, classes]."""
        _, last = self.gru(self.embedding(input_ids))
        logits: torch.Tensor = self.output(torch.cat([last[-2], last[-1]], dim=-1))
        return logits


class Seq2Seq(ReferenceModule):
    """LSTM encoder, teacher-forced LSTM decoder, and dot-product attention over the encoder states.

    Args:
        source_vocabulary: Number of source token ids.
        target_vocabulary: Number of target token ids.
        embedding: Width of a token.
        hidden: Width of an LSTM state.
    """

    def __init__(self, source_vocabulary: int, target_vocabulary: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.inputs = (
            InputSpec("source_ids", "int64", ("batch", "source"), high=source_vocabulary),
            InputSpec("target_ids", "int64", ("batch", "target"), high=target_vocabulary),
        )
        self.source_embedding = nn.Embedding(source_vocabulary, embedding)
        self.target_embedding = nn.Embedding(target_vocabulary, embedding)
        self.encoder = nn.LSTM(embedding, hidden, batch_first=True)
        self.decoder = nn.LSTM(embedding, hidden, batch_first=True)
        self.combine = nn.Linear(2 * hidden, hidden)
        self.output = nn.Linear(hidden, target_vocabulary)

    def forward(self, source_ids: torch.Tensor, target_ids: torch.Tensor) -> torch.Tensor:
        """Score the next target token as logits [batch, target, target vocabulary]."""
        encoded, state = self.encoder(self.source_embedding(source_ids))
        decoded, _ = self.decoder(self.target_embedding(target_ids), state)
        attention = torch.softmax(torch.matmul(decoded, encoded.transpose(1, 2)), dim=-1)
        context = torch.matmul(attention, encoded)
        mixed = torch.tanh(self.combine(torch.cat([decoded, context], dim=-1)))
        logits: torch.Tensor = self.output(mixed)
        return logits


def gru_classifier(*, size: Size = "real") -> GRUClassifier:
    """Build the GRU text classifier."""
    if by_size(size, small=True, real=False):
        return GRUClassifier(vocabulary=1000, embedding=32, hidden=32, classes=4)
    return GRUClassifier(vocabulary=20000, embedding=128, hidden=256, classes=4)


def seq2seq(*, size: Size = "real") -> Seq2Seq:
    """Build the sequence-to-sequence network."""
    if by_size(size, small=True, real=False):
        return Seq2Seq(source_vocabulary=1000, target_vocabulary=800, embedding=32, hidden=64)
    return Seq2Seq(source_vocabulary=20000, target_vocabulary=16000, embedding=256, hidden=512)
