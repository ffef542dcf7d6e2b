"""The optional engines: what each installs, and the Python it needs, in one place.

Adding an engine is a line here, a function in ``child.py`` that runs inside its environment, and steps in
`xport.convert.routes` that name it.
"""

from __future__ import annotations

from dataclasses import dataclass

from xport.errors import UsageError


@dataclass(frozen=True)
class Engine:
    """One converter of somebody else's.

    Attributes:
        name: What the user and ``--via`` call it.
        requirements: What pip installs into its environment, pinned.
        oldest: The oldest Python it runs on.
        newest: The newest Python that its pins have wheels for.
        does: What it converts, in words.
        seconds: How long one conversion may take.
    """

    name: str
    requirements: tuple[str, ...]
    oldest: tuple[int, int]
    newest: tuple[int, int]
    does: str
    seconds: float = 3600.0

    @property
    def pythons(self) -> str:
        """The versions of Python it runs on, in words."""
        return f"Python {self.oldest[0]}.{self.oldest[1]} to {self.newest[0]}.{self.newest[1]}"


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            "onnx2tf",
            ("onnx2tf[tensorflow]==2.6.9",),
            (3, 12),
            (3, 13),
            "ONNX to TFLite and SavedModel",
        ),
        Engine(
            "litert-torch",
            ("litert-torch==0.10.0", "torch==2.13.0"),
            (3, 11),
            (3, 13),
            "PyTorch and .pt2 to TFLite",
        ),
    )
}
"""Every engine by name, with the versions that were tested."""


def find(name: str) -> Engine:
    """The engine of a name.

    Raises:
        UsageError: If there is none.
    """
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}.", f"Use one of {', '.join(ENGINES)}.")
    return ENGINES[name]
