"""Every format into every other, over the models: what passes the gate, and how near to the rounding floor.

``make matrix`` runs what no earlier run has; ``--models`` picks some, ``--fresh`` begins anew. The table goes to stdout
and into ``docs/matrix.md``, everything to ``benchmarks/results/matrix.json``, after every conversion.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from keras_models import KERAS_MODELS
from measure import machine

import xport
from xport import models
from xport.errors import XportError
from xport.formats import Format

SOURCES = (
    Format.PYTORCH,
    Format.TORCHSCRIPT,
    Format.EXPORTED,
    Format.ONNX,
    Format.SAVEDMODEL,
    Format.KERAS,
    Format.TFLITE,
)
TARGETS = (
    Format.TORCHSCRIPT,
    Format.EXPORTED,
    Format.PYTORCH,
    Format.ONNX,
    Format.SAVEDMODEL,
    Format.TFLITE,
)
RESULTS = Path(__file__).parent / "results" / "matrix.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "matrix.md"


def worst(parity: list[dict[str, Any]]) -> float | None:
    """The largest error in rounding floors, over outputs and sizes; None if no floor was used."""
    ratios = [float(entry["ratio"]) for entry in parity if entry.get("ratio") is not None]
    return round(max(ratios), 2) if ratios else None


def file_name(source: Format, target: Format) -> str:
    """What a result is called; PyTorch source code is a folder."""
    return f"{source.value}-{target.value}{'' if target is Format.PYTORCH else target.suffix}"


def convert(source: Any, target: Format, output: Path) -> dict[str, Any]:
    """One cell: what became of a conversion."""
    start = time.perf_counter()
    try:
        artifact = xport.convert(source, to=target, output=output)
    except XportError as error:
        return {"passed": False, "error": f"{type(error).__name__}: {error.message}"[:500]}
    ratio = worst(artifact.proof.parity) if artifact.proof else None
    return {"passed": True, "floors": ratio, "seconds": round(time.perf_counter() - start, 1)}


def starts(model: str, folder: Path) -> dict[Format, Any]:
    """A model in every format that it has: the zoo's by proven conversion, Keras models as Keras saves them."""
    if model in KERAS_MODELS:
        path = folder / "start.keras"
        KERAS_MODELS[model]().save(path)
        return {Format.KERAS: path}
    zoo = f"zoo:{model}@small"
    found: dict[Format, Any] = {Format.PYTORCH: zoo}
    for source in SOURCES:
        if source not in (Format.PYTORCH, Format.KERAS):
            path = folder / f"start-{source.value}{source.suffix}"
            xport.convert(zoo, to=source, output=path)
            found[source] = path
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """The matrix: how many models passed, and the worst error among them in floors."""
    lines = ["| from \\ to | " + " | ".join(t.value for t in TARGETS) + " |", "|---" * (len(TARGETS) + 1) + "|"]
    for source in SOURCES:
        cells = []
        for target in TARGETS:
            own = [r for r in rows if (r["source"], r["target"]) == (source.value, target.value)]
            floors = [r["floors"] for r in own if r["passed"] and r["floors"] is not None]
            near = f", ≤ {max(floors):.1f} floors" if floors else ""
            cells.append(f"{sum(r['passed'] for r in own)} / {len(own)}{near}" if own else "—")
        lines.append(f"| {source.value} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def missing(rows: list[dict[str, Any]]) -> str:
    """Which models have not been through all their pairs yet, in a sentence; empty if all have."""
    done = Counter(row["model"] for row in rows)
    wanted = {name: len(TARGETS) * (len(SOURCES) - 1) for name in models.names()} | dict.fromkeys(
        KERAS_MODELS, len(TARGETS)
    )
    left = [f"{name} ({done[name]} of {count})" for name, count in wanted.items() if done[name] < count]
    return f" Not, or not wholly, run: {', '.join(left)}." if left else ""


def one_line(error: str) -> str:
    """A refusal with all its reasons, without the names of the nodes."""
    lines = dict.fromkeys(re.sub(r": \d+ node\(s\),.*", "", line.strip()) for line in error.splitlines())
    return " ".join(lines)


def page(rows: list[dict[str, Any]]) -> str:
    """``docs/matrix.md``."""
    failures = [r for r in rows if not r["passed"]]
    listed = "\n".join(f"* {r['model']}, {r['source']} → {r['target']}: {one_line(r['error'])}" for r in failures)
    return f"""# The matrix

Made by `make matrix`; not typed by hand. A cell is passed / tried conversions of the models named below (small
forms), each proven by the gate on several sizes, and the worst error among them in multiples of the source's own
rounding floor (see [validate.md](validate.md)). The starts are proven conversions of the zoo's models; Keras models are
built and saved by Keras. `pytorch` as a target is [source code](pytorch-source.md).

Models: {", ".join(dict.fromkeys(r["model"] for r in rows))}.{missing(rows)}

{table(rows)}

## What did not pass

{listed or "Nothing."}
"""


def main() -> None:
    """Fill the matrix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=[*models.names(), *KERAS_MODELS])
    parser.add_argument("--fresh", action="store_true", help="forget an earlier run")
    parser.add_argument("--page", action="store_true", help="only write the page of what has been run")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if RESULTS.exists() and not arguments.fresh:
        rows = json.loads(RESULTS.read_text())["rows"]
    for model in [] if arguments.page else arguments.models:
        done = {(r["source"], r["target"]) for r in rows if r["model"] == model}
        wanted = [Format.KERAS] if model in KERAS_MODELS else [s for s in SOURCES if s is not Format.KERAS]
        left = [(s, t) for s in wanted for t in TARGETS if (s.value, t.value) not in done]
        if not left:
            continue
        with tempfile.TemporaryDirectory() as folder:
            begun = starts(model, Path(folder))
            for source, target in left:
                cell = convert(begun[source], target, Path(folder) / file_name(source, target))
                rows.append({"model": model, "source": source.value, "target": target.value, **cell})
                told = f"{cell['floors']} floors, {cell['seconds']} s" if cell["passed"] else cell["error"]
                print(f"{model:14s} {source.value:12s} → {target.value:12s} {told.splitlines()[0]}", flush=True)
                RESULTS.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    DOCUMENT.write_text(page(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
