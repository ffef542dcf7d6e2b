"""``xport inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from xport.cli.convert import print_verdicts
from xport.cli.options import output_options, source_options
from xport.cli.output import Output, bytes_text

if TYPE_CHECKING:
    from xport.artifact import Proof
    from xport.inspection import Inspection

_SHOWN_OPERATORS = 20


@click.command(short_help="Show what is in a model file.")
@click.argument("model", type=click.Path(path_type=str))
@source_options
@output_options
def inspect(output: Output, model: str, **arguments: Any) -> None:
    """Show what is in MODEL: interface, operators, sizes, and the proof that it carries."""
    from xport.inspection import inspect as look

    with output.progress() as tell:
        tell(f"reading {model}")
        found = look(model, verbose=output.verbose, **arguments)
    if output.json:
        output.print_json(found.to_json())
        return
    output.table(("", ""), _facts(found))
    _print_interface(output, found)
    _print_operators(output, found)
    if found.proof is not None:
        _print_proof(output, found.proof, found.golden_cases)
    for note in found.notes:
        output.line(f"Note: {note}")


def _facts(found: Inspection) -> list[tuple[str, str]]:
    facts = [("file", str(found.path)), ("format", found.format.value), ("holds", found.content.value)]
    facts.append(("size", bytes_text(found.size)))
    if found.parameters is not None:
        facts.append(("parameters", f"{found.parameters:,}"))
    if found.opsets:
        facts.append(("opset", ", ".join(f"{domain or 'ai.onnx'} {v}" for domain, v in found.opsets.items())))
    for symbol, places in found.dynamic_dimensions.items():
        facts.append((f"dynamic {symbol}", ", ".join(places)))
    return facts + [(key, str(value)) for key, value in found.details.items()]


def _print_interface(output: Output, found: Inspection) -> None:
    if found.signature is None:
        output.line("The file does not tell its inputs and outputs.")
        return
    sides = (("input", found.signature.inputs), ("output", found.signature.outputs))
    rows = [
        (side, spec.name, spec.dtype, "?" if spec.shape is None else str(list(spec.shape)).replace("'", ""))
        for side, specs in sides
        for spec in specs
    ]
    output.table(("", "name", "dtype", "shape"), rows)


def _print_operators(output: Output, found: Inspection) -> None:
    if not found.operators:
        return
    shown = list(found.operators.items())[:_SHOWN_OPERATORS]
    output.table(("operator", "count"), shown)
    if len(found.operators) > len(shown):
        output.line(f"… and {len(found.operators) - len(shown)} more operators")


def _print_proof(output: Output, proof: Proof, golden_cases: int) -> None:
    source = proof.source
    output.line(f"Made by xport on {proof.created} from {source.get('name', '?')} ({source.get('format', '?')}).")
    output.line(f"Route {' → '.join(proof.route)}; {golden_cases} golden cases inside.")
    if proof.verified:
        print_verdicts(output, proof.parity)
    else:
        output.line("It was NOT verified: --no-verify was given.")
