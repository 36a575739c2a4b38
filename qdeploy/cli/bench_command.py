"""``qdeploy bench``: how fast is a bundle here?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import Output, bundle_argument, common_options, litert_options, runtime_option, seed_option, trust_option

if TYPE_CHECKING:
    from qdeploy.runtime.litert_options import LitertOptions


@click.command("bench")
@bundle_argument
@runtime_option("Runtimes to measure; all but c that are installed when not given.")
@click.option("--float", "float_model", type=click.Path(), metavar="FILE", help="Float .onnx model to compare with.")
@click.option("--steps", type=click.IntRange(1), help="Time steps in a call of a recurrent model; 784 if not given.")
@click.option("--calls", type=click.IntRange(3), help="Measured calls of each runtime; chosen by time if not given.")
@litert_options
@trust_option
@seed_option
@common_options
def command(
    bundle: str,
    runtimes: tuple[str, ...],
    float_model: str | None,
    steps: int | None,
    calls: int | None,
    seed: int,
    trust: bool,
    litert: LitertOptions | None,
    output: Output,
) -> None:
    """Measure BUNDLE's microseconds a time step (recurrent) or sample: one thread, batch 1, runtimes in turns."""
    import qdeploy

    output.report(
        qdeploy.load(bundle, trust=trust).bench(
            runtimes=runtimes or None, float_model=float_model, steps=steps, calls=calls, seed=seed, litert=litert
        )
    )
