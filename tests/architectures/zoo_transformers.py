"""The architectures of `transformers` with random weights and tiny configurations: nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from more_transformers import albert, bart, deberta, dinov2, mobilevit, opt, qwen2, resnet
from tensor_modules import Features, Masked, Pixels, TextAndPixels, Waves
from torch import nn


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        build: Makes the module.
        inputs: Its inputs, as `xport.convert` takes them.
        outputs: Names for its outputs.
        sizes: Sizes of the symbols that no conversion tries.
        vocabulary: The number of token ids.
    """

    build: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: dict[str, int]
    vocabulary: int = 99


_TEXT = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_TEXT |= {"intermediate_size": 48, "max_position_embeddings": 64}
_IDS = "input_ids:int64[batch,sequence]"
_MASK = "attention_mask:int64[batch,sequence]"
_TEXT_SIZES = {"batch": 5, "sequence": 13}
_PIXELS = "pixel_values:float32[batch,3,32,32]"


def _bert() -> nn.Module:
    config = transformers.BertConfig(**_TEXT)
    return Masked(
        transformers.BertModel(config), ["input_ids", "attention_mask"], ["last_hidden_state", "pooler_output"]
    )


def _distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(
        vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64, num_labels=3
    )
    model = transformers.DistilBertForSequenceClassification(config)
    return Masked(model, ["input_ids", "attention_mask"], ["logits"])


def _gpt2() -> nn.Module:
    config = transformers.GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    return Masked(transformers.GPT2LMHeadModel(config), ["input_ids", "attention_mask"], ["logits"], use_cache=False)


def _llama() -> nn.Module:
    config = transformers.LlamaConfig(**_TEXT, num_key_value_heads=2)
    model = transformers.LlamaForCausalLM(config)
    return Masked(model, ["input_ids", "attention_mask"], ["logits"], use_cache=False)


def _t5() -> nn.Module:
    config = transformers.T5Config(
        vocab_size=99, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    return Masked(transformers.T5EncoderModel(config), ["input_ids", "attention_mask"], ["last_hidden_state"])


def _vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=32, patch_size=8
    )
    return Pixels(transformers.ViTForImageClassification(config), ["pixel_values"], ["logits"])


def _swin() -> nn.Module:
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4
    )
    return Pixels(transformers.SwinModel(config), ["pixel_values"], ["last_hidden_state", "pooler_output"])


def _convnext() -> nn.Module:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24], depths=[1, 1, 2], num_stages=3, num_labels=5)
    return Pixels(transformers.ConvNextForImageClassification(config), ["pixel_values"], ["logits"])


def _segformer() -> nn.Module:
    config = transformers.SegformerConfig(
        num_encoder_blocks=3,
        depths=[1, 1, 1],
        sr_ratios=[4, 2, 1],
        hidden_sizes=[8, 16, 24],
        patch_sizes=[7, 3, 3],
        strides=[4, 2, 2],
        num_attention_heads=[1, 2, 4],
        mlp_ratios=[2, 2, 2],
        decoder_hidden_size=16,
        num_labels=4,
    )
    return Pixels(transformers.SegformerForSemanticSegmentation(config), ["pixel_values"], ["logits"])


def _wav2vec2() -> nn.Module:
    config = transformers.Wav2Vec2Config(
        vocab_size=32,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=(16, 16, 16),
        conv_stride=(5, 2, 2),
        conv_kernel=(10, 3, 2),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    return Waves(transformers.Wav2Vec2ForCTC(config), ["input_values"], ["logits"])


def _whisper() -> nn.Module:
    config = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_layers=1,
        decoder_attention_heads=4,
        decoder_ffn_dim=48,
        num_mel_bins=20,
        max_source_positions=30,
        vocab_size=99,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    encoder = transformers.WhisperModel(config).get_encoder()
    return Features(encoder, ["input_features"], ["last_hidden_state"])


def _clip() -> nn.Module:
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    vision |= {"image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=dict(_TEXT), vision_config=vision, projection_dim=24)
    inputs = ["input_ids", "pixel_values", "attention_mask"]
    outputs = ["logits_per_image", "text_embeds", "image_embeds"]
    return TextAndPixels(transformers.CLIPModel(config), inputs, outputs)


ARCHITECTURES: dict[str, Architecture] = {
    "bert": Architecture(_bert, (_IDS, _MASK), ("hidden", "pooled"), _TEXT_SIZES),
    "distilbert": Architecture(_distilbert, (_IDS, _MASK), ("logits",), _TEXT_SIZES),
    "gpt2": Architecture(_gpt2, (_IDS, _MASK), ("logits",), _TEXT_SIZES),
    "llama": Architecture(_llama, (_IDS, _MASK), ("logits",), _TEXT_SIZES),
    "t5": Architecture(_t5, (_IDS, _MASK), ("hidden",), _TEXT_SIZES),
    "vit": Architecture(_vit, (_PIXELS,), ("logits",), {"batch": 5}),
    "swin": Architecture(_swin, (_PIXELS,), ("hidden", "pooled"), {"batch": 5}),
    "convnext": Architecture(
        _convnext, ("pixel_values:float32[batch,3,height,width]",), ("logits",), {"batch": 5, "height": 48, "width": 80}
    ),
    "segformer": Architecture(
        _segformer,
        ("pixel_values:float32[batch,3,height,width]",),
        ("logits",),
        {"batch": 5, "height": 64, "width": 96},
    ),
    "wav2vec2": Architecture(
        _wav2vec2, ("input_values:float32[batch,samples]",), ("logits",), {"batch": 3, "samples": 801}
    ),
    "whisper": Architecture(_whisper, ("input_features:float32[batch,20,60]",), ("hidden",), {"batch": 5}),
    "clip": Architecture(
        _clip,
        (
            "input_ids:int64[texts,sequence]",
            "pixel_values:float32[images,3,32,32]",
            "attention_mask:int64[texts,sequence]",
        ),
        ("logits_per_image", "text_embeds", "image_embeds"),
        {"texts": 5, "images": 3, "sequence": 13},
    ),
}
"""What the tests convert to every target."""

MORE: dict[str, Architecture] = {
    "albert": Architecture(albert, (_IDS, _MASK), ("hidden", "pooled"), _TEXT_SIZES),
    "deberta_v2": Architecture(deberta, (_IDS, _MASK), ("logits",), _TEXT_SIZES),
    "opt": Architecture(opt, (_IDS, _MASK), ("logits",), _TEXT_SIZES),
    "qwen2": Architecture(qwen2, (_IDS, _MASK), ("logits",), _TEXT_SIZES),
    "bart": Architecture(bart, (_IDS, _MASK), ("logits",), _TEXT_SIZES),
    "resnet": Architecture(resnet, (_PIXELS,), ("logits",), {"batch": 5}),
    "mobilevit": Architecture(mobilevit, ("pixel_values:float32[batch,3,64,64]",), ("logits",), {"batch": 5}),
    "dinov2": Architecture(dinov2, (_PIXELS,), ("hidden", "pooled"), {"batch": 5}),
}
"""What `benchmarks/field.py` gives to every converter besides."""

EVERY = ARCHITECTURES | MORE


def build(name: str) -> nn.Module:
    """An architecture's module in evaluation mode, with seeded weights."""
    torch.manual_seed(0)
    return EVERY[name].build().eval()
