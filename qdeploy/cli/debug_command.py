"""``qdeploy debug``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import Output, bundle_argument, common_options, trust_option
from .progress import progress_bars


@click.command("debug")
@bundle_argument
@click.option("--data", required=True, metavar="DATA", help=".npz with x (or the inputs' names), or a data set's name.")
@click.option(
    "--float",
    "float_model",
    metavar="MODEL",
    help="Float model: a checkpoint or .onnx; else outputs alone are compared.",
)
@click.option("--runtime", metavar="NAME", help="Runtime whose integers must be the reference's on these data.")
@click.option("--limit", type=click.IntRange(1), help="Use at most this many samples.  [default: 32]")
@click.option(
    "--picture", type=click.Path(path_type=Path), metavar="FILE", help="Draw the errors over time into this .png."
)
@trust_option
@common_options
def command(
    bundle: str,
    data: str,
    float_model: str | None,
    runtime: str | None,
    limit: int | None,
    picture: Path | None,
    trust: bool,
    output: Output,
) -> None:
    """Show which tensor, layer or time step of BUNDLE leaves the float model.

    Every tensor is compared with the float model's, hidden and cell states at every step.
    """
    import qdeploy
    from qdeploy.debug.picture import draw

    if picture is not None and picture.suffix != ".png":
        raise click.UsageError(f"{picture}: the picture to write must end in .png")
    with progress_bars(output) as progress:
        report = qdeploy.load(bundle, trust=trust).debug(
            data, float_model=float_model, runtime=runtime, limit=limit, progress=progress
        )
    output.report(report)
    if picture is not None:
        draw(report, picture)
        output.say(f"written: {picture}")
