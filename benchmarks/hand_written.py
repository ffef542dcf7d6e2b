"""The zoo's ResNet-50, MobileNetV2 and BERT as one would write them for TensorFlow: Keras layers, channels last.

They take the weights of the PyTorch modules, so that their numbers can be compared too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from torch import nn

from xport import models


def write(name: str, size: str, folder: Path) -> None:
    """Build a model with the zoo's weights and save it as a SavedModel with `serving_default`."""
    module = models.build(name, size=size).module
    if name == "bert":
        function, specs = bert(module)
        tf.saved_model.save(function, str(folder), signatures=function.answer.get_concrete_function(*specs))
        return
    side = module.inputs[0].shape[-1]
    image = keras.Input((side, side, 3), name="image")
    logits = {"resnet50": resnet, "mobilenet_v2": mobilenet}[name](image, module)
    keras.Model(image, logits).export(str(folder), format="tf_saved_model", verbose=False)


def taking(layer: Any, x: Any, *weights: Any) -> Any:
    """Apply a layer, then give it weights."""
    y = layer(x)
    layer.set_weights([w.detach().numpy() for w in weights])
    return y


def convolution(x: Any, conv: Any, norm: Any, activation: Any = None) -> Any:
    """A convolution without bias, batch normalisation, activation."""
    if conv.padding[0]:
        x = keras.layers.ZeroPadding2D(conv.padding[0])(x)
    options = {"strides": conv.stride[0], "use_bias": False}
    if conv.groups > 1:
        layer, order = keras.layers.DepthwiseConv2D(conv.kernel_size[0], **options), (2, 3, 0, 1)
    else:
        layer, order = keras.layers.Conv2D(conv.out_channels, conv.kernel_size[0], **options), (2, 3, 1, 0)
    x = taking(layer, x, conv.weight.permute(*order))
    statistics = norm.weight, norm.bias, norm.running_mean, norm.running_var
    x = taking(keras.layers.BatchNormalization(epsilon=norm.eps), x, *statistics)
    return x if activation is None else keras.layers.ReLU(max_value=activation or None)(x)


def head(x: Any, linear: Any) -> Any:
    """Global average pooling and a linear layer."""
    x = keras.layers.GlobalAveragePooling2D()(x)
    return taking(keras.layers.Dense(linear.out_features), x, linear.weight.T, linear.bias)


def resnet(image: Any, module: Any) -> Any:
    """ResNet-50."""
    x = convolution(image, module.conv1, module.bn1, 0)
    x = keras.layers.ZeroPadding2D(1)(x)  # what is padded is positive or zero
    x = keras.layers.MaxPooling2D(3, 2)(x)
    for block in module.stages:
        shortcut = x if block.downsample is None else convolution(x, *block.downsample)
        x = convolution(x, block.conv1, block.bn1, 0)
        x = convolution(x, block.conv2, block.bn2, 0)
        x = keras.layers.ReLU()(keras.layers.Add()([convolution(x, block.conv3, block.bn3), shortcut]))
    return head(x, module.fc)


def mobilenet(image: Any, module: Any) -> Any:
    """MobileNetV2."""
    x = convolution(image, *module.features[0][:2], 6)
    for block in list(module.features)[1:-1]:
        y = x if isinstance(block.expand, nn.Identity) else convolution(x, *block.expand[:2], 6)
        y = convolution(convolution(y, *block.depthwise[:2], 6), *block.project)
        x = keras.layers.Add()([x, y]) if block.shortcut else y
    return head(convolution(x, *module.features[-1][:2], 6), module.classifier[1])


class Bert(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """The encoder, of Keras layers."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.heads = module.layers[0].heads
        self.token = tf.Variable(module.token.weight.detach().numpy())
        self.position = tf.Variable(module.position.weight.detach().numpy())
        self.token_type = tf.Variable(module.token_type.weight[0].detach().numpy())
        self.norm = normed(module.norm)
        names = ("query", "key", "value", "attention_out", "mlp_in", "mlp_out")
        self.blocks = [
            {name: dense(getattr(layer, name)) for name in names}
            | {name: normed(getattr(layer, name)) for name in ("attention_norm", "mlp_norm")}
            for layer in module.layers
        ]
        self.pooler = dense(module.pooler)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def answer(self, input_ids: Any, attention_mask: Any) -> dict[str, Any]:
        """Encode ids [batch, sequence]."""
        positions = self.position[: tf.shape(input_ids)[1]]
        x = self.norm(tf.gather(self.token, input_ids) + positions + self.token_type)
        bias = (1.0 - tf.cast(attention_mask[:, None, None, :], x.dtype)) * x.dtype.min
        for block in self.blocks:
            x = self.layer(block, x, bias)
        return {"last_hidden_state": x, "pooler_output": tf.tanh(self.pooler(x[:, 0]))}

    def layer(self, block: dict[str, Any], x: Any, bias: Any) -> Any:
        """Attention and feed-forward."""
        batch, sequence, width = tf.shape(x)[0], tf.shape(x)[1], x.shape[2]

        def split(y: Any) -> Any:
            return tf.transpose(tf.reshape(y, [batch, sequence, self.heads, width // self.heads]), [0, 2, 1, 3])

        query, key, value = (split(block[name](x)) for name in ("query", "key", "value"))
        scores = tf.matmul(query, key, transpose_b=True) / np.sqrt(width // self.heads).astype(np.float32)
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores + bias), value), [0, 2, 1, 3])
        x = block["attention_norm"](x + block["attention_out"](tf.reshape(mixed, [batch, sequence, width])))
        return block["mlp_norm"](x + block["mlp_out"](tf.nn.gelu(block["mlp_in"](x))))


def dense(linear: Any) -> Any:
    """A linear layer."""
    layer = keras.layers.Dense(linear.out_features)
    layer.build((None, linear.in_features))
    layer.set_weights([linear.weight.T.detach().numpy(), linear.bias.detach().numpy()])
    return layer


def normed(norm: Any) -> Any:
    """A layer normalisation."""
    layer = keras.layers.LayerNormalization(epsilon=norm.eps)
    layer.build((None, norm.normalized_shape[0]))
    layer.set_weights([norm.weight.detach().numpy(), norm.bias.detach().numpy()])
    return layer


def bert(module: Any) -> tuple[Any, list[Any]]:
    """The encoder and its inputs."""
    names: list[str] = [spec.name for spec in module.inputs]
    specs: Callable[[str], Any] = lambda name: tf.TensorSpec([None, None], tf.int64, name)  # noqa: E731
    return Bert(module), [specs(name) for name in names]
