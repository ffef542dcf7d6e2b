"""Everything that `make bench` runs, in order; ``python benchmarks/steps.py`` runs it, ``--part convert`` a part.

A step that fails does not stop the others; what failed is said at the end, and the exit code tells.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: What the progress line calls it.
        part: ``convert``, ``validate``, ``matrix``, ``serve`` or ``report``.
        words: The script of this folder, and its arguments.
        measures: What comes out.
        needs: What it needs beside this repository's environment.
        minutes: About how long it takes on two idle cores.
    """

    name: str
    part: str
    words: tuple[str, ...]
    measures: str
    needs: str
    minutes: int


_OTHERS = "the package registry (4 GB), Python 3.12 for onnx2tf"
_SERVERS = "the package registry (3 GB), Java for TorchServe"
STEPS = (
    Step("convert", "convert", ("convert.py",), "the small zoo to every target, with proofs", "", 25),
    Step(
        "convert-real",
        "convert",
        ("convert.py", "--size", "real", "--models", "resnet50", "bert", "seq2seq"),
        "seconds, memory and errors at real sizes",
        "5 GB of memory",
        8,
    ),
    Step("layout", "convert", ("layout.py",), "transposes left in the results", "", 4),
    Step("field", "convert", ("field.py",), "the small zoo by every converter", _OTHERS, 60),
    Step(
        "field-transformers",
        "convert",
        ("field.py", "--set", "transformers"),
        "architectures of `transformers` by every converter",
        _OTHERS,
        80,
    ),
    Step(
        "field-real",
        "convert",
        ("field.py", "--size", "real", "--models", "resnet50"),
        "ResNet-50 by every converter",
        _OTHERS,
        8,
    ),
    Step("field-latency", "convert", ("field_latency.py",), "how long the artifacts take", _OTHERS, 10),
    Step("faults", "validate", ("faults.py",), "false alarms and misses of the verdict", "", 35),
    Step("bisection", "validate", ("bisection.py",), "planted faults found by `xport bisect`", "", 90),
    Step("losses", "validate", ("losses.py",), "what lower precision loses", "", 5),
    Step("latency", "validate", ("latency.py",), "one model in every runtime", "", 5),
    Step("matrix", "matrix", ("matrix.py", "--fresh"), "every format into every other", "", 90),
    Step(
        "conformance",
        "matrix",
        ("../tests/conformance/report.py", "--write", str(HERE.parent / "docs" / "operators.md")),
        "ONNX's own tests of operators",
        "",
        30,
    ),
    Step(
        "serving",
        "serve",
        ("serving.py", "--json", str(HERE / "results" / "serving.json")),
        "the embedded server under load",
        "",
        1,
    ),
    Step(
        "serving-field",
        "serve",
        ("serving_field.py", "--json", str(HERE / "results" / "serving-field.json")),
        "other servers beside it",
        _SERVERS,
        10,
    ),
    Step(
        "soak",
        "serve",
        ("soak.py", "--json", str(HERE / "results" / "soak.json")),
        "ten minutes at 80 % of what it can do, and with workers killed",
        "",
        13,
    ),
    Step("tables", "report", ("tables.py",), "the tables of the documentation", "", 0),
    Step("plots", "report", ("plots.py",), "the plots of the documentation", "", 0),
)


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=sorted({step.part for step in STEPS}))
    parser.add_argument("--list", action="store_true", help="say what would run, and how long it takes")
    arguments = parser.parse_args()
    steps = [step for step in STEPS if arguments.part in (None, step.part)]
    if arguments.list:
        print("\n".join(f"{step.name:20s} about {step.minutes:3d} min  {step.measures}" for step in steps))
        return
    failed = []
    for index, step in enumerate(steps, 1):
        left = sum(each.minutes for each in steps[index - 1 :])
        print(f"== {index}/{len(steps)} {step.name}: {step.measures} (all that is left: about {left} min)", flush=True)
        start = time.monotonic()
        command = [sys.executable, "-W", "ignore", str(HERE / step.words[0]), *step.words[1:]]
        code = subprocess.run(command, env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"}).returncode
        print(
            f"== {step.name}: {'done' if not code else f'exit code {code}'}, {time.monotonic() - start:.0f} s",
            flush=True,
        )
        failed += [step.name] if code else []
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
