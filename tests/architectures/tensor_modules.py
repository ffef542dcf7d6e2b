"""Models of `transformers` as modules of tensors alone, one class for each list of inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Plain(nn.Module):
    """A model of `transformers` as tensors in, tensors out.

    Args:
        model: The model.
        inputs: Its keyword arguments, in order.
        outputs: The fields of its answer that are wanted, in order.
        fixed: Further keyword arguments.
    """

    def __init__(self, model: nn.Module, inputs: list[str], outputs: list[str], **fixed: Any) -> None:
        super().__init__()
        self.model, self.inputs, self.outputs, self.fixed = model, inputs, outputs, fixed

    def answer(self, *tensors: torch.Tensor) -> Any:
        found = self.model(**dict(zip(self.inputs, tensors, strict=True)), **self.fixed)
        fields = tuple(found[name] for name in self.outputs)
        return fields[0] if len(fields) == 1 else fields


class Ids(Plain):
    def forward(self, input_ids: torch.Tensor) -> Any:
        return self.answer(input_ids)


class Masked(Plain):
    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return self.answer(input_ids, attention_mask)


class Pixels(Plain):
    def forward(self, pixel_values: torch.Tensor) -> Any:
        return self.answer(pixel_values)


class Waves(Plain):
    def forward(self, input_values: torch.Tensor) -> Any:
        return self.answer(input_values)


class Features(Plain):
    def forward(self, input_features: torch.Tensor) -> Any:
        return self.answer(input_features)


class TextAndPixels(Plain):
    def forward(self, input_ids: torch.Tensor, pixel_values: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return self.answer(input_ids, pixel_values, attention_mask)
