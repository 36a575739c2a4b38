"""``qdeploy verify``: do all runtimes compute the same bits?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import (
    Output,
    bundle_argument,
    common_options,
    litert_options,
    names_option,
    runtime_option,
    seed_option,
    trust_option,
)
from .progress import progress_bars

if TYPE_CHECKING:
    from qdeploy.runtime.litert_options import LitertOptions


@click.command("verify")
@bundle_argument
@runtime_option("Runtimes to compare with the reference; all that are installed when not given.")
@click.option("--samples", type=click.IntRange(1), help="Sequences or samples to run, besides the made-up extremes.")
@click.option("--data", metavar="DATA", help="Real samples: .npy, .npz or a data set's name.")
@click.option("--case", metavar="NAME", help="Only this case, or kind of case, as a difference names it.")
@names_option(
    "--board", "boards", "Run on these boards, emulated (`qdeploy board list`): C, unless other runtimes are named."
)
@litert_options
@trust_option
@seed_option
@common_options
def command(
    bundle: str,
    runtimes: tuple[str, ...],
    samples: int | None,
    data: str | None,
    case: str | None,
    boards: tuple[str, ...],
    seed: int,
    trust: bool,
    litert: LitertOptions | None,
    output: Output,
) -> int:
    """Compare every output and state of BUNDLE, bit for bit, between all runtimes.

    Exit code 0: not one integer differs. 1: the first difference is shown, with a command that repeats it.
    """
    import qdeploy

    with progress_bars(output) as progress:
        report = qdeploy.load(bundle, trust=trust).verify(
            runtimes=runtimes or None,
            samples=samples,
            seed=seed,
            data=data,
            case=case,
            board=boards or None,
            progress=progress,
            litert=litert,
        )
    output.report(report)
    return 0 if report.passed else 1
