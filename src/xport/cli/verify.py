"""``xport verify``."""

from __future__ import annotations

import click

from xport.cli.convert import print_verdicts
from xport.cli.options import output_options
from xport.cli.output import Output
from xport.errors import ParityError


@click.command(short_help="Replay the golden inputs of an artifact.")
@click.argument("artifact", type=click.Path(path_type=str))
@click.option("--trust-pickle", is_flag=True, help="Allow code inside the artifact to run (PyTorch source).")
@output_options
def verify(output: Output, artifact: str, trust_pickle: bool) -> int:
    """Run the golden inputs that ARTIFACT carries again, and say whether its numbers moved."""
    from xport.verify import verify as replay

    with output.progress() as tell:
        tell(f"replaying {artifact}")
        found = replay(artifact, trust_pickle=trust_pickle, verbose=output.verbose)
    if output.json:
        output.print_json(found.to_json())
        return 0 if found.passed else ParityError.exit_code
    print_verdicts(output, [verdict.to_json() for verdict in found.verdicts])
    found.check()
    output.line(f"{artifact} still gives what it gave when it was made ({found.cases} golden cases).")
    return 0
