"""What to do about operators that ONNX cannot say, by what they are for."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"Random|Multinomial|RANDOM|MULTINOMIAL",
        "Draw random numbers outside and give the model them as an input, or save it as it infers (training=False)",
    ),
    (
        r"ParseExample|ParseSingleExample|ParseSequenceExample|Decode(?!ProtoV2)|ReadFile",
        "Save a signature that takes tensors instead of serialized examples or encoded images, or name it if the model "
        "has one: --signature predict",
    ),
    (
        r"String|Regex|AsString|SparseCross|Unicode|Wordpiece|Substr|Ngrams|HASHTABLE",
        "Turn text into numbers before the model (keras.layers.TextVectorization, Hashing and StringLookup run in the "
        "data pipeline as well), and save the model from there on",
    ),
    (
        r"Enter|Exit|NextIteration|LoopCond|Merge|Switch|TensorArray.*V3",
        "This is control flow of TensorFlow 1: build the graph again after tf.compat.v1.enable_control_flow_v2()",
    ),
    (r"PyFunc", "The function is not in the model, only a reference to it: write it with TensorFlow's operators"),
    (
        r"Cholesky|Solve|Inverse|Qr|Svd|Eig|Lu$|MatrixExponential|MatrixSquareRoot|MatrixLogarithm",
        "Decompose or invert matrices that do not depend on the inputs before saving, or give the result as an input",
    ),
    (r"VAR_HANDLE|ASSIGN_VARIABLE|CALL_ONCE", "Take the state as an input and give the new one as an output"),
    (r"Grad$", "Save the function itself; gradients are taken where the model is trained"),
)
"""A pattern of names, and a way out."""


def advice(kinds: Iterable[str], otherwise: str) -> str:
    """The ways out for some operators.

    Args:
        kinds: Their names.
        otherwise: What else can be done.
    """
    names = list(kinds)
    found = [text for pattern, text in _ADVICE if any(re.search(pattern, name) for name in names)]
    return ". ".join([*found, otherwise])
