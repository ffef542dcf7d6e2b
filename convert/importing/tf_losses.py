"""TensorFlow's losses and measures of classifiers, which some exported models compute."""

from __future__ import annotations

from xport.convert.importing import elementwise as e
from xport.convert.importing import reducing, shaping, slicing
from xport.convert.importing.formulas import Term
from xport.convert.importing.tensor import Tensor, constant
from xport.convert.importing.tf_registry import Call, op


@op("SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits")
def _cross_entropy(c: Call) -> list[Tensor]:
    logits, given = c.inputs
    log = Term(c.w, reducing.softmax(c.w, "LogSoftmax", logits, -1))
    share = Term(c.w, reducing.softmax(c.w, "Softmax", logits, -1))
    if c.op.type.startswith("Sparse"):
        depth = shaping.size_of(c.w, logits, shaping.rank_of(logits) - 1)
        marks = slicing.one_hot(c.w, given, depth, e.like(1, logits), e.like(0, logits), -1)
        picked = Term(c.w, slicing.gather_batched(c.w, log.tensor, given, 1, 1))
        return [(-picked).tensor, (share - Term(c.w, marks)).tensor]
    labels = Term(c.w, given)
    return [(-(labels * log)).total(-1, keep=False).tensor, (share - labels).tensor]


@op("InTopK", "InTopKV2")
def _among_the_best(c: Call) -> Tensor:
    scores, targets = Term(c.w, c.x), Term(c.w, shaping.index_vector(c.w, c.inputs[1]))
    limit = c.inputs[2] if len(c.inputs) > 2 else constant(c.attr("k"), "int64")
    count = Term(c.w, shaping.size_of(c.w, c.x, 1))
    inside = (targets >= 0) & (targets < count)
    place = inside.where(targets, 0)
    score = Term(c.w, slicing.gather_batched(c.w, c.x, place.tensor, 1, 1))
    better = (scores > score.at(1)).cast("int64").total(1, keep=False)
    # A score that is not finite, minus itself, is NaN: then nothing can be said.
    difference = scores - scores
    finite = difference.equals(difference).cast("int64").total(1, op="ReduceMin", keep=False).cast("bool")
    return (inside & finite & (better < Term(c.w, shaping.index_vector(c.w, limit)))).tensor
