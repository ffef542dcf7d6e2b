"""More tiny architectures of `transformers`: shared and disentangled attention, encoder-decoders, images."""

from __future__ import annotations

import transformers
from tensor_modules import Masked, Pixels
from torch import nn

_TEXT = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_TEXT |= {"intermediate_size": 48, "max_position_embeddings": 64}
_TEXT_INPUTS = ["input_ids", "attention_mask"]


def albert() -> nn.Module:
    config = transformers.AlbertConfig(**_TEXT, embedding_size=16)
    return Masked(transformers.AlbertModel(config), _TEXT_INPUTS, ["last_hidden_state", "pooler_output"])


def deberta() -> nn.Module:
    config = transformers.DebertaV2Config(
        **_TEXT, relative_attention=True, pos_att_type=["p2c", "c2p"], max_relative_positions=32, num_labels=3
    )
    return Masked(transformers.DebertaV2ForSequenceClassification(config), _TEXT_INPUTS, ["logits"])


def opt() -> nn.Module:
    config = transformers.OPTConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=48,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
    )
    return Masked(transformers.OPTForCausalLM(config), _TEXT_INPUTS, ["logits"], use_cache=False)


def qwen2() -> nn.Module:
    config = transformers.Qwen2Config(**_TEXT, num_key_value_heads=2)
    return Masked(transformers.Qwen2ForCausalLM(config), _TEXT_INPUTS, ["logits"], use_cache=False)


def bart() -> nn.Module:
    config = transformers.BartConfig(
        vocab_size=99,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=64,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    return Masked(transformers.BartForConditionalGeneration(config), _TEXT_INPUTS, ["logits"], use_cache=False)


def resnet() -> nn.Module:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 24], depths=[1, 1, 2, 1], layer_type="basic", num_labels=5
    )
    return Pixels(transformers.ResNetForImageClassification(config), ["pixel_values"], ["logits"])


def mobilevit() -> nn.Module:
    config = transformers.MobileViTConfig(
        image_size=64,
        patch_size=2,
        hidden_sizes=[16, 16, 24],
        neck_hidden_sizes=[8, 8, 8, 16, 16, 16, 24],
        num_attention_heads=2,
        num_labels=5,
    )
    return Pixels(transformers.MobileViTForImageClassification(config), ["pixel_values"], ["logits"])


def dinov2() -> nn.Module:
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8
    )
    return Pixels(transformers.Dinov2Model(config), ["pixel_values"], ["last_hidden_state", "pooler_output"])
