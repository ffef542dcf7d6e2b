"""Small Keras models, as Keras users write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def convnet() -> Any:
    """Images, batch normalisation, pooling."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((16, 16, 3), name="image"),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.SeparableConv2D(12, 3, strides=2, padding="same", activation="swish"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="softmax", name="scores"),
        ]
    )


def two_inputs() -> Any:
    """A wide and a deep input, two outputs."""
    import keras
    from keras import layers

    wide, deep = keras.Input((6,), name="wide"), keras.Input((9,), name="deep")
    hidden = layers.LayerNormalization()(layers.Dense(16, activation="gelu")(deep))
    joined = layers.Concatenate()([wide, hidden])
    return keras.Model([wide, deep], [layers.Dense(1, name="score")(joined), layers.Dense(3, name="kind")(hidden)])


def recurrent() -> Any:
    """Words, an LSTM both ways, a GRU."""
    import keras
    from keras import layers

    words = keras.Input((None,), dtype="int32", name="words")
    x = layers.Embedding(50, 8)(words)
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x)
    return keras.Model(words, layers.Dense(4, name="tags")(layers.GRU(7)(x)))


def attention() -> Any:
    """One block of a transformer."""
    import keras
    from keras import layers

    tokens = keras.Input((None, 16), name="tokens")
    x = layers.LayerNormalization()(tokens + layers.MultiHeadAttention(4, 4)(tokens, tokens))
    return keras.Model(tokens, x + layers.Dense(16, name="out")(layers.Dense(32, activation="relu")(x)))


KERAS_MODELS: dict[str, Callable[[], Any]] = {
    "keras_convnet": convnet,
    "keras_two_inputs": two_inputs,
    "keras_recurrent": recurrent,
    "keras_attention": attention,
}
"""By name, what builds the model."""
