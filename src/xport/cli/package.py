"""``xport package``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from xport.cli.options import output_options, source_options
from xport.cli.output import Output, bytes_text


class EngineType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """The name of an engine."""

    name = "engine"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if there is such an engine."""
        from xport.serve.engines import find

        return find(str(value), packaged=True).name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The engines that begin like this."""
        from xport.serve.engines import ENGINES

        return [CompletionItem(n) for n, engine in ENGINES.items() if engine.writer and n.startswith(incomplete)]


_OWN = ("base_image", "image", "namespace", "replicas", "cpus", "memory", "storage_uri")


@click.command(short_help="Write a folder that serves proven models.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=click.Path(path_type=str))
@click.option(
    "--engine", type=EngineType(), required=True, help="embedded, tf-serving, torchserve, kserve or kubernetes."
)
@click.option(
    "--output", "-o", "destination", metavar="FOLDER", required=True, type=click.Path(path_type=Path), help="To write."
)
@click.option("--model-version", type=click.IntRange(min=1), default=1, show_default=True, help="Its number.")
@click.option("--allow-unverified", is_flag=True, help="Package models that carry no proof.")
@click.option("--force", is_flag=True, help="Replace a bundle that is there.")
@click.option("--base-image", metavar="IMAGE", help="What the container is made from.")
@click.option("--image", metavar="IMAGE", help="kserve, kubernetes: what you will call the built container.")
@click.option("--namespace", metavar="NAME", help="kserve, kubernetes: where it runs.")
@click.option("--replicas", metavar="MIN:MAX", help="kserve, kubernetes: how many; 1:4 by default.")
@click.option("--cpus", metavar="NUMBER", help="kserve, kubernetes: processors for each.")
@click.option("--memory", metavar="SIZE", help="kserve, kubernetes: memory for each, 2Gi for example.")
@click.option("--storage-uri", metavar="URI", help="kserve: where you will upload the model, s3://bucket/path.")
@source_options
@output_options
def package(output: Output, **arguments: Any) -> None:
    """Write a folder with everything that --engine needs to serve MODEL.

    MODEL is a file, a SavedModel folder, a folder of numbered SavedModels, or zoo:NAME; NAME=MODEL names it. What the
    engine does not serve as it is gets converted, with the proof. Golden inputs are replayed on what is packaged.
    """
    from xport.serve.packaging.api import package as write

    opening = {"inputs": arguments["inputs"], "arch": arguments["arch"], "trust_pickle": arguments["trust_pickle"]}
    with output.progress() as tell:
        bundle = write(
            arguments["models"],
            arguments["engine"],
            arguments["destination"],
            version=arguments["model_version"],
            allow_unverified=arguments["allow_unverified"],
            overwrite=arguments["force"],
            opening=opening,
            options={name: arguments[name] for name in _OWN},
            progress=tell,
            verbose=output.verbose,
        )
    if output.json:
        output.print_json({"path": str(bundle.path), **bundle.manifest})
        return
    rows = [
        (
            entry["name"],
            entry["version"],
            entry["format"],
            f"{entry['golden_cases']} golden cases passed" if entry["verified"] else "NOT VERIFIED",
            "yes" if entry["batching"] else f"no: {entry['batching_reason']}",
        )
        for entry in bundle.models
    ]
    output.table(("model", "version", "format", "proof", "requests joined"), rows)
    size = sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file())
    output.line(f"{bundle.path}   {bytes_text(size)}   how to go on: {bundle.path / 'README.md'}")
