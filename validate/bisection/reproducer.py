"""The smallest sub-model that still shows a divergence, as a folder to send to somebody."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xport.errors import DestinationError, XportError
from xport.validate.bisection.isolation import Alone
from xport.validate.bisection.results import Divergence
from xport.validate.bisection.search import Candidate

_SCRIPT = '''"""Shows one operator that gives different numbers on the same inputs.

reference.onnx is cut out of {reference},
other.onnx out of {other}.
{reasons}
Needs numpy and onnxruntime only: python reproduce.py
"""

import os
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import, or it is too late
import onnxruntime

HERE = Path(__file__).parent
ORDER = {order}  # of the other's axes; those of size one are left out


def run(model, inputs):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(HERE / model), options, providers=["CPUExecutionProvider"])
    with np.load(HERE / inputs) as arrays:
        feeds = {{i.name: arrays[f"input_{{n}}"] for n, i in enumerate(session.get_inputs())}}
    return session.run(None, feeds)[0]


reference, other = run("reference.onnx", "inputs.npz"), run("other.onnx", "other_inputs.npz")
if ORDER:
    other = other.squeeze().transpose(ORDER)
other = other.reshape(reference.shape)
left, right = reference.astype(np.float64), other.astype(np.float64)
difference = np.abs(left - right)
worst = np.unravel_index(np.nanargmax(difference), difference.shape)
print(f"reference {{reference.dtype}}{{list(reference.shape)}}: mean {{left.mean():.7g}}, std {{left.std():.7g}}")
print(f"other     {{other.dtype}}{{list(other.shape)}}: mean {{right.mean():.7g}}, std {{right.std():.7g}}")
print(f"largest difference {{difference[worst]:.7g}} at {{[int(i) for i in worst]}}: "
      f"{{right[worst]:.7g}} instead of {{left[worst]:.7g}}")
print(f"RMS of the difference relative to the reference: "
      f"{{np.sqrt(np.mean(difference**2)) / np.sqrt(np.mean(left**2)):.3g}}")
'''


@dataclass(frozen=True)
class Reproducer:
    """Writes the folder.

    Attributes:
        reference: The reference's name, for the script's text.
        other: The other artifact's name.
    """

    reference: str
    other: str

    def write(self, folder: Path, candidate: Candidate, alone: Alone | None, divergence: Divergence) -> tuple[str, ...]:
        """Write the folder by one rename.

        Args:
            folder: Where; it must not exist.
            candidate: The pair of values.
            alone: Both parts with their inputs.
            divergence: What was found.

        Returns:
            The files written.

        Raises:
            DestinationError: If the folder exists or cannot be written.
            XportError: If the operator could not be run alone.
        """
        if alone is None:
            raise XportError(f"{candidate.name} could not be computed alone, so it cannot be reproduced alone.")
        check_free(folder)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
        try:
            (staging / "reference.onnx").write_bytes(alone.model.SerializeToString())
            (staging / "other.onnx").write_bytes(alone.other.SerializeToString())
            # Names of values may be no names of files: inputs are numbered in the graph's order.
            for name, arrays in (("inputs.npz", alone.inputs), ("other_inputs.npz", alone.other_inputs)):
                numbered = {f"input_{n}": array for n, array in enumerate(arrays.values())}
                np.savez_compressed(staging / name, **numbered)  # type: ignore[arg-type]
            reasons = "\n".join(f"Found: {reason}." for reason in divergence.reasons)
            script = _SCRIPT.format(
                reference=_plain(self.reference),
                other=_plain(self.other),
                reasons=_plain(reasons) + "\n" if reasons else "",
                order=list(candidate.match.perm),
            )
            (staging / "reproduce.py").write_text(script, encoding="utf-8")
            staging.chmod(0o755)
            check_free(folder)
            os.rename(staging, folder)
        except OSError as error:
            raise DestinationError(
                f"{folder} cannot be written: {error.strerror or error}.", "Choose another folder with --reproduce."
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return tuple(sorted(str(folder / file.name) for file in folder.iterdir()))


def check_free(folder: Path) -> None:
    """Refuse to write over anything.

    Raises:
        DestinationError: If there is something, or no folder to put it in.
    """
    if os.path.lexists(folder):
        raise DestinationError(f"{folder} exists already; a reproducer overwrites nothing.", "Name another folder.")
    if not folder.absolute().parent.is_dir():
        parent = folder.absolute().parent
        raise DestinationError(f"The folder {parent} does not exist.", f"Make it: mkdir -p '{parent}'")


def _plain(text: str) -> str:
    """Text that cannot end the script's docstring."""
    return text.replace("\\", "/").replace('"""', "'''")
