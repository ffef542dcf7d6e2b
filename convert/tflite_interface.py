"""The interface of a TFLite file that somebody else's converter wrote, made that of the model."""

from __future__ import annotations

from pathlib import Path

from xport.convert.importing.tflite_file import File
from xport.convert.tflite_names import rename
from xport.convert.tflite_signature import interface
from xport.errors import ConversionError, XportError
from xport.signature import Signature


def give_names(path: Path, signature: Signature, *, by_name: bool) -> bytes:
    """The file with the model's names in the model's order; shapes and dtypes are left to the gate.

    Args:
        path: The file.
        signature: What its inputs and outputs have to be called, in order.
        by_name: Whether the converter kept the names, so that only the order may differ; otherwise it kept the order.

    Returns:
        The file's content.

    Raises:
        ConversionError: If the file is broken, has no signature, or has other inputs or outputs.
    """
    try:
        file = File(path)
    except XportError as error:
        raise ConversionError(f"The engine wrote a file that cannot be read: {error.message}") from error
    if len(file.model.signatureDefs or ()) != 1:
        raise ConversionError("The engine wrote a TFLite file without the one signature that was asked for.")
    names = []
    for found, specs in zip(interface(file), (signature.inputs, signature.outputs), strict=True):
        wanted = [spec.name for spec in specs]
        if len(found) != len(wanted) or (by_name and set(found) != set(wanted)):
            raise ConversionError(
                f"The engine changed the interface: it has {', '.join(found) or 'none'}, "
                f"expected {', '.join(wanted) or 'none'}."
            )
        names.append(dict(zip(wanted if by_name else found, wanted, strict=True)))
    return rename(path.read_bytes(), names[0], names[1])
