"""Converts a PyTorch module to TFLite by litert-torch; `field.py` runs it in litert-torch's own environment.

Dynamic sizes are asked for first; where litert-torch refuses them, the sizes of the example are kept.
"""

from __future__ import annotations

import sys

import litert_torch
import torch
from field_models import subject


def main() -> None:
    """Convert: MODEL FILE, the model as `field_models.subject` names it."""
    word, target = sys.argv[1:]
    model = subject(word)
    module = model.build()
    inputs = {key: torch.from_numpy(array) for key, array in model.examples(2).items()}
    symbols = {symbol: torch.export.Dim(symbol) for symbol in model.symbols}
    dynamic = {
        spec.name: {axis: symbols[extent] for axis, extent in enumerate(spec.shape) if isinstance(extent, str)}
        for spec in model.inputs
    }
    for shapes in (dynamic, None):
        try:
            made = litert_torch.convert(module, sample_kwargs=inputs, dynamic_shapes=shapes, enable_x64=True)
        except Exception as error:
            if shapes is None:
                raise
            print(f"dynamic sizes are refused: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
            continue
        made.export(target)
        return


if __name__ == "__main__":
    main()
