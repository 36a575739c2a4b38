"""``qdeploy validate``: what did quantization cost?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import Output, bundle_argument, common_options, litert_options, trust_option
from .progress import progress_bars

if TYPE_CHECKING:
    from qdeploy.runtime.litert_options import LitertOptions

METRICS = ("accuracy", "bits", "mse", "mae", "sqnr")


@click.command("validate")
@bundle_argument
@click.option(
    "--data", required=True, metavar="DATA", help=".npz with x (or the inputs' names) and y, or a data set's name."
)
@click.option(
    "--float", "float_model", metavar="MODEL", help="Float model to compare with; the bundle's baseline if not given."
)
@click.option("--runtime", default="onnxruntime", show_default=True, help="Runtime that computes.")
@click.option("--metric", type=click.Choice(METRICS), default="accuracy", show_default=True)
@click.option("--max-drop", type=float, help="Fail when accuracy drops by more than this many points (per cent).")
@click.option("--limit", type=click.IntRange(1), help="Use at most this many samples.")
@litert_options
@trust_option
@common_options
def command(
    bundle: str,
    data: str,
    float_model: str | None,
    runtime: str,
    metric: str,
    max_drop: float | None,
    limit: int | None,
    trust: bool,
    litert: LitertOptions | None,
    output: Output,
) -> int:
    """Compare BUNDLE with the float model on data with known answers.

    Exit code 1 when --max-drop is exceeded.
    """
    import qdeploy

    with progress_bars(output) as progress:
        report = qdeploy.load(bundle, trust=trust).validate(
            data,
            float_model=float_model,
            runtime=runtime,
            metric=metric,
            max_drop=max_drop,
            limit=limit,
            progress=progress,
            litert=litert,
        )
    output.report(report)
    return 0 if report.passed else 1
