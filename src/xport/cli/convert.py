"""``xport convert``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from xport.cli.convert_many import ConvertCommand, many, refuse_misplaced
from xport.cli.options import FormatType, output_options, source_options
from xport.cli.output import Output, bytes_text
from xport.formats import Format

if TYPE_CHECKING:
    from xport.artifact import Artifact


@click.command(cls=ConvertCommand, short_help="Convert a model, or many, and prove the results.")
@click.argument("source", type=click.Path(path_type=str), required=False)
@click.option(
    "--to",
    "target",
    type=FormatType(),
    help="pytorch (source code), torchscript, pt2, onnx, savedmodel or tflite.",
)
@click.option("--output", "-o", "destination", type=click.Path(path_type=str), help="The file or folder to write.")
@source_options
@click.option(
    "--inputs",
    "input_data",
    metavar="FILE.npz",
    type=click.Path(path_type=str),
    help="Trace and prove with these inputs, too.",
)
@click.option("--output-names", metavar="A,B", help="Names for the outputs, for models that do not name theirs.")
@click.option("--signature", metavar="NAME", help="Which signature of a SavedModel; serving_default by default.")
@click.option(
    "--via", metavar="FORMAT", multiple=True, help="A format to go through, or a step or engine to use. Repeatable."
)
@click.option("--seed", type=int, default=0, show_default=True, help="For the inputs that are drawn.")
@click.option("--rtol", type=click.FloatRange(min=0), help="Judge by this limit instead of the rounding floor.")
@click.option("--atol", type=click.FloatRange(min=0), help="Judge by this limit instead of the rounding floor.")
@click.option("--opset", type=click.IntRange(min=7), help="For onnx: the version of its operators.")
@click.option("--optimize", is_flag=True, help="For onnx: fold constants, merge and remove what can be.")
@click.option(
    "--dtype",
    type=click.Choice(["float16", "bfloat16", "float32"]),
    help="Store and compute in this precision; inputs and outputs stay as they are.",
)
@click.option(
    "--quantize",
    type=click.Choice(["dynamic", "int8"]),
    help="int8 weights, or int8 weights and activations (onnx, tflite).",
)
@click.option(
    "--calibration",
    metavar="FILE.npz|FOLDER",
    type=click.Path(path_type=str),
    help="Typical inputs for int8, one array an input, samples first.",
)
@click.option(
    "--keep-float", metavar="NODE", multiple=True, help="A node, module or pattern that stays in float. Repeatable."
)
@click.option("--until", metavar="sqnr=DB", help="Leave the most damaging layers in float until so much is left.")
@click.option("--select-tf-ops", is_flag=True, help="Let TFLite files use operators of TensorFlow itself.")
@click.option("--force", is_flag=True, help="Replace what is at the destination.")
@click.option("--no-verify", is_flag=True, help="Do not prove the result; the artifact records that.")
@click.option("--keep-failed", is_flag=True, help="Keep a result that failed, under a name that says so.")
@click.option("--many", metavar="PLAN.yaml", type=click.Path(path_type=str), help="Convert the models of a plan.")
@click.option("--jobs", type=click.IntRange(min=1), help="With --many: how many at a time.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for each conversion.")
@click.option("--executor", type=click.Choice(["local", "ray"]), default="local", help="With --many: where they run.")
@click.option("--ray-address", metavar="HOST:PORT", help="With --executor ray: the cluster; by default one is started.")
@click.option("--json-file", hidden=True, type=click.Path(path_type=str))
@output_options
def convert(output: Output, **arguments: Any) -> int:
    """Convert SOURCE, and prove that the result is still the same model.

    SOURCE is a file (told apart by its content), a SavedModel folder, or zoo:NAME. Nothing is written unless
    the result has passed. With --many PLAN.yaml, many models into many formats; --output is then a folder or URL.
    """
    refuse_misplaced(is_plan=arguments["many"] is not None)
    if arguments["many"] is not None:
        return many(output, arguments)
    _refuse_missing(arguments)
    from xport.convert import api

    started = time.perf_counter()
    with output.progress() as tell:
        artifact = api.convert(
            arguments["source"],
            arguments["target"],
            arguments["destination"],
            verify=not arguments["no_verify"],
            inputs=arguments["inputs"],
            input_data=arguments["input_data"],
            arch=arguments["arch"],
            trust_pickle=arguments["trust_pickle"],
            output_names=_names(arguments["output_names"]),
            signature=arguments["signature"],
            via=arguments["via"],
            dtype=arguments["dtype"],
            quantize=arguments["quantize"],
            calibration=arguments["calibration"],
            keep_float=arguments["keep_float"],
            until=arguments["until"],
            seed=arguments["seed"],
            tolerance=_tolerance(arguments["rtol"], arguments["atol"]),
            options={key: arguments[key] for key in ("opset", "optimize", "select_tf_ops") if arguments[key]},
            progress=tell,
            keep_failed=arguments["keep_failed"],
            verbose=output.verbose,
            overwrite=arguments["force"],
            timeout=arguments["timeout"],
        )
    report(output, artifact, time.perf_counter() - started)
    return 0


def _refuse_missing(arguments: dict[str, Any]) -> None:
    """What has no plan has a source and a target."""
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in ("source", "target") and arguments[parameter.name] is None:
            hint = None if isinstance(parameter, click.Option) else f"'{parameter.name.upper()}'"
            raise click.MissingParameter(ctx=context, param=parameter, param_hint=hint)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()] if text else []


def _tolerance(rtol: float | None, atol: float | None) -> tuple[float, float] | None:
    return None if rtol is None and atol is None else (rtol or 0.0, atol or 0.0)


def report(output: Output, artifact: Artifact, seconds: float) -> None:
    """Say what was written and how well it agrees."""
    proof = artifact.proof
    if proof is None:  # the gate always writes one
        return
    size = artifact_size(artifact)
    if output.json:
        output.print_json(
            {
                "path": str(artifact.path),
                "format": artifact.format.value,
                "size": size,
                "seconds": round(seconds, 3),
                "route": list(proof.route),
                "tried": proof.options.get("tried", []),
                "verified": proof.verified,
                "precision": proof.options.get("precision"),
                "signature": artifact.signature.to_json(),
                "outputs": proof.parity,
            }
        )
        return
    for lost in proof.options.get("tried", []):
        output.line(f"Tried {lost['route']}: {lost['reason']}")
    if precision := proof.options.get("precision"):
        print_precision(output, precision, proof.parity, size)
    if proof.verified:
        print_verdicts(output, proof.parity)
    else:
        output.line("Not verified, as you asked.")
    route = " → ".join(proof.route)
    output.line(f"{artifact.path}   {bytes_text(size)}   {route}   {seconds:.1f} s")


def print_precision(output: Output, precision: dict[str, Any], parity: list[dict[str, Any]], size: int) -> None:
    """Say what a lower precision saves, what it loses, and which layers it leaves in float."""
    before = precision["float_bytes"]
    output.line(f"{precision['kind']}: {bytes_text(before)} → {bytes_text(size)}, {size / before:.0%} of float32")
    if "before_db" in precision:
        kept = f"with {len(precision['kept'])} in float" if precision["kept"] else "and that is enough"
        output.line(
            f"Search: {float(precision['before_db']):.1f} dB with every layer in int8, "
            f"{float(precision['after_db']):.1f} dB {kept}"
        )
    for key, why in (
        ("kept", "most damaging"),
        ("asked", "as you asked"),
        ("unfit", "their numbers fit no eight bits"),
    ):
        if precision.get(key):
            output.line(f"In float ({why}): {', '.join(precision[key])}")
    rows = [(row["output"], row["loss"]) for row in parity if row.get("loss")]
    table = [
        (
            name,
            f"{float(loss['total_db']):.1f}",
            f"{loss['least_db']:g}",
            "—" if loss["top1"] is None else f"{loss['top1']:.1%} of {loss['rows']}",
        )
        for name, loss in rows
    ]
    if table:
        output.table(("output", "SQNR dB", "at least", "decisions kept"), table)


def print_verdicts(output: Output, parity: list[dict[str, Any]]) -> None:
    """Print one row an output."""
    rows = [
        (
            row["output"],
            row["verdict"],
            f"{float(row['max_abs']):.2e}",
            "—" if row["ratio"] is None else f"{float(row['ratio']):.2f}",
            row["rule"],
            row["reason"],
        )
        for row in parity
    ]
    output.table(("output", "verdict", "worst error", "× floor", "rule", "reason"), rows)  # noqa: RUF001


def artifact_size(artifact: Artifact) -> int:
    """The bytes of an artifact with everything that belongs to it."""
    path = artifact.path
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    data = path.with_name(f"{path.name}.data")
    extra = data.stat().st_size if artifact.format is Format.ONNX and data.is_file() else 0
    return path.stat().st_size + extra
