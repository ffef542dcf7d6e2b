"""What pickles hold, without running code that they carry unless the user trusts it."""

from __future__ import annotations

import itertools
import pickle
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from xport.convert.torch_arch import importable_cwd
from xport.errors import UnreadableModelError, UntrustedCodeError, XportError

BROKEN = "It may be truncated, or saved by a newer PyTorch; copy or save it again."
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""What torch.save wrote first before its files were archives (torch/serialization.py, MAGIC_NUMBER)."""
_OPCODES = 100_000
"""How far a pickle is read to see whose objects it holds."""


def unpickle(path: Path, *, trust: bool) -> Any:
    """What a pickle holds; restricted to tensors and plain containers unless the user trusts it.

    Args:
        path: A file of ``torch.save`` in any of its forms, or of ``pickle.dump``.
        trust: Whether code that the file carries may run.

    Returns:
        The object.

    Raises:
        UnreadableModelError: If it is broken, its code is not at hand, or it is no model of PyTorch at all.
        UntrustedCodeError: If opening it would run code, and `trust` does not allow that.
    """
    plain = _is_plain(path)
    if plain:
        _check_owner(path)
        if not trust:
            raise _untrusted(path)
    else:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if not _holds_code(path, error):
                raise UnreadableModelError(f"{path} is a broken pickle: {brief(error)}", BROKEN) from error
            if not trust:
                raise _untrusted(path) from error
        except Exception as error:
            raise UnreadableModelError(f"{path} cannot be read: {brief(error)}", BROKEN) from error
    return _unpickle_with_code(path, plain)


def _unpickle_with_code(path: Path, plain: bool) -> Any:
    try:
        with importable_cwd():
            if plain:
                with path.open("rb") as file:
                    return pickle.load(file)
            return torch.load(path, map_location="cpu", weights_only=False)
    except XportError:
        raise
    except (ImportError, AttributeError) as error:
        raise UnreadableModelError(
            f"{path} is a pickled module whose code cannot be found: {brief(error)}",
            "Run xport in the folder that holds the code, or save model.state_dict() and name the class: "
            "--arch package.module:factory",
        ) from error
    except Exception as error:  # anything may come out of the file's own code
        raise UnreadableModelError(f"{path} cannot be unpickled: {brief(error)}", BROKEN) from error


def _is_plain(path: Path) -> bool:
    """Whether a file was written by ``pickle.dump``; torch.save's own begin with a zip's or their magic number."""
    with path.open("rb") as file:
        if file.read(1) != b"\x80":
            return False
    first = itertools.islice(_opcodes(path), 5)
    return not any(value == _LEGACY_MAGIC for _, value in first) and any(_packages(path))


def _opcodes(path: Path) -> Iterator[tuple[str, Any]]:
    """The first opcodes with their arguments; a broken end ends them."""
    try:
        with path.open("rb") as file:
            for opcode, value, _ in itertools.islice(pickletools.genops(file), _OPCODES):
                yield opcode.name, value
    except Exception:  # pickletools raises anything on broken bytes; whoever opens the file says what is wrong
        return


def _packages(path: Path) -> Iterator[str]:
    """The packages whose objects a pickle holds, in order; the standard library's own rebuilding helpers left out."""
    texts: list[str] = []
    for name, value in _opcodes(path):
        if name == "GLOBAL":
            yield value.partition(" ")[0].partition(".")[0]
        elif name == "STACK_GLOBAL" and len(texts) > 1:
            yield texts[-2].partition(".")[0]
        elif isinstance(value, str):
            texts = [*texts[-1:], value]


def _check_owner(path: Path) -> None:
    """Refuse what other libraries pickle.

    Raises:
        UnreadableModelError: Naming the library.
    """
    packages = list(dict.fromkeys(_packages(path)))
    foreign = next((package for package in packages if package in _OTHERS), None)
    if foreign is not None and "torch" not in packages:
        raise UnreadableModelError(f"{path} holds an object of {foreign}, no neural network.", _OTHERS[foreign])


_OTHERS = dict.fromkeys(
    ("sklearn", "xgboost", "lightgbm", "catboost", "statsmodels"),
    "xport moves networks of PyTorch, TensorFlow and ONNX; skl2onnx and onnxmltools write ONNX files of such models.",
) | {
    "keras": "Save the whole model: model.save('model.keras')",
    "tensorflow": "Save the whole model: tf.saved_model.save(model, 'saved')",
    "numpy": "These are arrays without the code of a model. Save tensors, torch.save(…, 'weights.pt'), "
    "and add --arch package.module:factory.",
}
"""By package: what to do about a pickle of its objects. Sooner entries win."""


def _holds_code(path: Path, error: Exception) -> bool:
    """Whether the restricted reader stopped at something that it must not run, as opposed to broken bytes."""
    text = str(error)
    if "GLOBAL" in text or "Unsupported class" in text or "was not allowed" in text:
        return True
    with path.open("rb") as file:
        archive = file.read(2) == b"PK"
    return archive and "Unsupported operand" in text


def _untrusted(path: Path) -> UntrustedCodeError:
    return UntrustedCodeError(
        f"{path} is a pickled module or holds other Python objects; opening it would run code that the file carries.",
        "If you trust where it comes from, add --trust-pickle. Better, save the weights alone, "
        "torch.save(model.state_dict(), 'weights.pt'), and add --arch package.module:factory.",
    )


def brief(error: BaseException) -> str:
    """The first line of an error's text that says something, cut to a readable length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
