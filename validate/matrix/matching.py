"""Which tensor of an artifact belongs to which of the reference, and what differs beside the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xport.errors import UsageError
from xport.formats import Format
from xport.signature import Signature, TensorSpec
from xport.validate.matrix.subjects import Subject

# PyTorch's files record no output names; those that a signature shows were made up when it was read.
_NAMELESS = (Format.PYTORCH, Format.TORCHSCRIPT, Format.EXPORTED)


@dataclass(frozen=True)
class Matching:
    """Names of an artifact's tensors by the reference's.

    Attributes:
        inputs: Its inputs' names by the reference's.
        outputs: Its outputs' names by the reference's.
        notes: What was matched otherwise than by equal names, and sizes that are fixed here and free there.
        problem: A dtype or rank that differs; empty if none does.
    """

    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def renamed(self) -> dict[str, str]:
        """The names that differ."""
        return {a: b for side in (self.inputs, self.outputs) for a, b in side.items() if a != b}

    def send(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Inputs under the artifact's own names."""
        return {self.inputs[name]: array for name, array in inputs.items()}

    def receive(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs under the reference's names; one that the reference lacks keeps its own."""
        back = {own: name for name, own in self.outputs.items()}
        return {back.get(own, own): array for own, array in outputs.items()}


def match(
    reference: Subject,
    wanted: Signature,
    other: Subject,
    found: Signature,
    named: Mapping[str, str] | None = None,
) -> Matching:
    """Match an artifact's tensors with the reference's.

    Equal names belong together, then those that the user named; output names that one side only made up give way to
    the order. Anything else is refused: a guess could compare the wrong tensors.

    Args:
        reference: The reference.
        wanted: Its signature.
        other: The artifact.
        found: Its signature.
        named: The user's own mapping from the reference's names to the artifact's; others are ignored.

    Returns:
        The matching.

    Raises:
        UsageError: If tensors remain without a partner; it shows both signatures side by side.
    """
    own = dict(named or {})
    inputs = _pair(wanted.inputs, found.inputs, own)
    outputs = _pair(wanted.outputs, found.outputs, own)
    notes: list[str] = []
    if outputs is None and _one_is_nameless(reference, other) and _fit(wanted.outputs, found.outputs):
        outputs = {a.name: b.name for a, b in zip(wanted.outputs, found.outputs, strict=True)}
        nameless = other if other.source.format in _NAMELESS else reference
        pairs = ", ".join(f"{a} = {b}" for a, b in outputs.items() if a != b)
        notes.append(f"outputs matched by their order, since {nameless.name} records no output names: {pairs}")
    if inputs is None or outputs is None:
        raise _refused(reference, wanted, other, found)
    renamed = {a: b for side in (inputs, outputs) for a, b in side.items() if a != b and own.get(a) == b}
    if renamed:
        notes.append("names as you mapped them: " + ", ".join(f"{a} = {b}" for a, b in renamed.items()))
    problems, narrowed = _differences(wanted, found, inputs, outputs)
    return Matching(inputs, outputs, (*notes, *narrowed), " ".join(problems))


def check_mapped(named: Mapping[str, str], reference: Signature, others: Mapping[str, Signature]) -> None:
    """Refuse a mapping that names a tensor nobody has: it would be ignored.

    Args:
        named: The user's own mapping from the reference's names to those of artifacts.
        reference: The reference's signature.
        others: The signatures of the other artifacts that could be opened, by name.

    Raises:
        UsageError: Naming the tensor, and those that there are.
    """
    fix = "Write --map REFERENCE=OTHER."
    known = _names(reference)
    unknown = sorted(set(named) - known)
    if unknown:
        raise UsageError(f"The reference has no tensor {unknown[0]!r}; it has {', '.join(sorted(known))}.", fix)
    for name, own in named.items():
        if others and not any(own in _names(signature) for signature in others.values()):
            have = "; ".join(f"{label} has {', '.join(sorted(_names(s)))}" for label, s in others.items())
            raise UsageError(f"No artifact calls {name!r} {own!r}: {have}.", fix)


def _names(signature: Signature) -> set[str]:
    return {spec.name for spec in (*signature.inputs, *signature.outputs)}


def _one_is_nameless(reference: Subject, other: Subject) -> bool:
    return reference.source.format in _NAMELESS or other.source.format in _NAMELESS


def _pair(wanted: Sequence[TensorSpec], found: Sequence[TensorSpec], named: Mapping[str, str]) -> dict[str, str] | None:
    """Partners by name; None if some tensor on either side has none."""
    names = {spec.name for spec in found}
    pairs = {}
    for spec in wanted:
        partner = named[spec.name] if named.get(spec.name) in names else spec.name
        if partner not in names:
            return None
        pairs[spec.name] = partner
    complete = len(set(pairs.values())) == len(pairs) == len(found)
    return pairs if complete else None


def _fit(wanted: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> bool:
    return len(wanted) == len(found) and all(
        a.dtype == b.dtype and (a.shape is None or b.shape is None or len(a.shape) == len(b.shape))
        for a, b in zip(wanted, found, strict=True)
    )


def _differences(
    wanted: Signature, found: Signature, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """What makes a comparison impossible, and what only narrows it."""
    problems, narrowed = [], []
    for side, specs, others, names in (
        ("input", wanted.inputs, found.inputs, inputs),
        ("output", wanted.outputs, found.outputs, outputs),
    ):
        by_name = {spec.name: spec for spec in others}
        for want in specs:
            have = by_name[names[want.name]]
            rank_differs = want.shape is not None and have.shape is not None and len(want.shape) != len(have.shape)
            if want.dtype != have.dtype or rank_differs or (side == "input" and _contradicts(want, have)):
                problems.append(f"The {side} is {have}, expected {want}.")
            elif side == "input" and _fixes(want, have):
                narrowed.append(f"the input {have} has a size fixed that is free in the reference's {want}")
    return problems, narrowed


def _contradicts(want: TensorSpec, have: TensorSpec) -> bool:
    """Whether two sizes are fixed to different numbers, as with another layout."""
    pairs = zip(want.shape or (), have.shape or (), strict=False)
    return any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)


def _fixes(want: TensorSpec, have: TensorSpec) -> bool:
    pairs = zip(want.shape or (), have.shape or (), strict=False)
    return any(isinstance(a, str) and isinstance(b, int) for a, b in pairs)


def _refused(reference: Subject, wanted: Signature, other: Subject, found: Signature) -> UsageError:
    rows = [("", reference.name, other.name)]
    for side, left, right in (("in", wanted.inputs, found.inputs), ("out", wanted.outputs, found.outputs)):
        for position in range(max(len(left), len(right))):
            own, theirs = (str(specs[position]) if position < len(specs) else "—" for specs in (left, right))
            rows.append((side, own, theirs))
    width = max(len(row[1]) for row in rows)
    table = "\n".join(f"  {side:4}{left:{width}}  {right}" for side, left, right in rows)
    free = [
        (a.name, b.name)
        for left, right in ((wanted.inputs, found.inputs), (wanted.outputs, found.outputs))
        for a, b in zip(
            [s for s in left if s.name not in {o.name for o in right}],
            [s for s in right if s.name not in {o.name for o in left}],
            strict=False,
        )
    ]
    example = " ".join(f"--map {a}={b}" for a, b in free)
    fix = f"Say which belong together, for example {example}" if example else "They are not the same model's interface."
    return UsageError(f"{other.name} names its tensors otherwise than {reference.name}:\n{table}", fix)
