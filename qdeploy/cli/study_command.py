"""``qdeploy study``: what a choice of quantization costs, on a trained network and its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdeploy.studies import STUDIES

from .options import Output, common_options
from .progress import progress_bars

if TYPE_CHECKING:
    from qdeploy.studies.cells import CellsReport
    from qdeploy.studies.kinds import KindsReport
    from qdeploy.studies.pruning import PruningReport
    from qdeploy.studies.ptq import PtqReport
    from qdeploy.studies.quaternion import QuaternionReport
    from qdeploy.studies.sizes import SizesReport
    from qdeploy.studies.state_bits import StateBitsReport
    from qdeploy.studies.weight_bits import WeightBitsReport


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    del context, parameter
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    if not all(name.isdecimal() for name in names):
        raise click.BadParameter(f"{value!r}; expected numbers with commas between, such as 6,8,12")
    return tuple(int(name) for name in names)


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    del context, parameter
    return None if value is None else tuple(name.strip() for name in value.split(","))


@click.command("study")
@click.argument("study", type=click.Choice(list(STUDIES)))
@click.argument("model")
@click.option(
    "--bits", callback=_numbers, help="Comma separated. [state-bits: 6,8,10,12,16; sizes: 3 to 8; others: 3,4,5,6,8]"
)
@click.option(
    "--state-range", "rules", callback=_names, help="state-bits: rules to compare, comma separated; all four."
)
@click.option("--trained", metavar="MODEL", multiple=True, help="ptq: a network trained on the grid; several times.")
@click.option(
    "--twin",
    metavar="MODEL",
    help="weight-bits: the float network beside, by default where MODEL begins; pruning: the other network, by default "
    "MODEL with quaternion- before it or without.",
)
@click.option(
    "--method",
    "methods",
    callback=_names,
    help="weight-bits: of bjorck, projunn-d, projunn-t, comma separated; all three.",
)
@click.option("--hidden", callback=_numbers, help="sizes: hidden units of each cell.  [default: 32]")
@click.option(
    "--epochs", type=click.IntRange(1), help="weight-bits, sizes, kinds, pruning: instead of the configuration's."
)
@click.option("--iterations", type=click.IntRange(1), help="pruning: how often weights are cut.  [default: 20]")
@click.option("--seeds", callback=_numbers, help="pruning: a training for each, comma separated.  [default: 0]")
@click.option("--data", metavar="DATA", help="A data set's name, or an .npz with x and y; else the checkpoint's own.")
@click.option("--recipe", default="default", show_default=True, help="For all that is not studied.")
@click.option("--time-axis", type=int, help="Axis of time in the input.")
@click.option("--limit", type=click.IntRange(1), help="Use at most this many test samples.")
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), help="Folder for the table and the picture.")
@common_options
def command(
    study: str,
    model: str,
    bits: tuple[int, ...] | None,
    rules: tuple[str, ...] | None,
    trained: tuple[str, ...],
    twin: str | None,
    methods: tuple[str, ...] | None,
    hidden: tuple[int, ...] | None,
    epochs: int | None,
    iterations: int | None,
    seeds: tuple[int, ...] | None,
    data: str | None,
    recipe: str,
    time_axis: int | None,
    limit: int | None,
    folder: Path | None,
    output: Output,
) -> None:
    """Measure what a choice of quantization costs MODEL, a network or a group of them.

    state-bits: loss, accuracy and the state's error over time, by bits of the state and rule for its range.
    weight-bits: MODEL, a training configuration, is trained for each number of bits, into the folder of -o.
    cells: a shipped network, all that were trained on the data set MODEL, or "all" recurrent ones, at three settings.
    sizes: every recurrent configuration of the data set MODEL is trained in several sizes, into the folder of -o.
    quaternion: the same for "all" quaternion networks: two recipes, beside their expanded matrices and quantize_static.
    pruning: MODEL, a training configuration, and its counterpart are pruned step by step, into the folder of -o.
    kinds: quaternion-MODEL, real4-MODEL and real3-MODEL, such as conv2-cifar10, are trained into the folder of -o.
    ptq: weights of a float network quantized after training, beside networks trained on the grid.

    \b
    qdeploy study state-bits qornn-copy -o study
    qdeploy study weight-bits qornn-smnist -o study
    qdeploy study cells all -o study
    qdeploy study sizes sequential-digits -o study
    qdeploy study quaternion digits
    qdeploy study pruning lenet300-mnist --epochs 8 -o study
    qdeploy study kinds conv2-cifar10 -o study
    qdeploy study ptq ornn-digits --trained qornn-digits
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    given: dict[str, tuple[tuple[str, ...], object]] = {
        "--bits": (("state-bits", "weight-bits", "sizes", "ptq"), bits),
        "--state-range": (("state-bits",), rules),
        "--trained": (("ptq",), trained),
        "--twin": (("weight-bits", "pruning"), twin),
        "--method": (("weight-bits",), methods),
        "--hidden": (("sizes",), hidden),
        "--epochs": (("weight-bits", "sizes", "kinds", "pruning"), epochs),
        "--iterations": (("pruning",), iterations),
        "--seeds": (("pruning",), seeds),
    }
    for option, (owners, value) in given.items():
        if value and study not in owners:
            raise click.UsageError(f"{option} belongs to {', '.join(owners)}")
    if study == "quaternion" and recipe != "default":
        raise click.UsageError("quaternion compares recipes of its own")
    trains = study in ("weight-bits", "sizes", "kinds", "pruning")
    if trains and folder is None:
        raise click.UsageError(f"{study} trains: it needs a folder, -o")
    if study not in ("state-bits", "ptq") and (data is not None or time_axis is not None):
        raise click.UsageError(f"{study} takes data and time from MODEL")
    from qdeploy.studies import cells, kinds, pruning, ptq, quaternion, sizes, state_bits, weight_bits

    if folder is not None and study not in ("ptq", "quaternion"):
        state_bits.check_can_draw()
    report: (
        CellsReport
        | KindsReport
        | PruningReport
        | PtqReport
        | QuaternionReport
        | SizesReport
        | StateBitsReport
        | WeightBitsReport
    )
    written: list[Path] = []
    with progress_bars(output) as progress:
        if study == "cells":
            table = cells.run(model, recipe=recipe, limit=limit, progress=progress)
            report, written = table, cells.write(table, folder) if folder else written
        elif study == "quaternion":
            forms = quaternion.run(model, limit=limit, progress=progress)
            report, written = forms, quaternion.write(forms, folder) if folder else written
        elif study == "sizes" and folder is not None:
            compared = sizes.run(
                model,
                folder,
                hidden=hidden or sizes.HIDDEN,
                bits=bits or sizes.BITS,
                epochs=epochs,
                recipe=recipe,
                limit=limit,
                progress=progress,
            )
            report, written = compared, sizes.write(compared, folder)
        elif study == "kinds" and folder is not None:
            trained_kinds = kinds.run(model, folder, epochs=epochs, progress=progress)
            report, written = trained_kinds, kinds.write(trained_kinds, folder)
        elif study == "weight-bits" and folder is not None:
            grids = weight_bits.run(
                model,
                folder,
                twin=twin,
                bits=bits or weight_bits.BITS,
                methods=methods,
                epochs=epochs,
                recipe=recipe,
                limit=limit,
                progress=progress,
            )
            report, written = grids, weight_bits.write(grids, folder)
        elif study == "pruning" and folder is not None:
            pruned = pruning.run(
                model,
                folder,
                twin=twin,
                iterations=iterations or pruning.ITERATIONS,
                seeds=seeds or pruning.SEEDS,
                epochs=epochs,
                recipe=recipe,
                limit=limit,
                progress=progress,
            )
            report, written = pruned, pruning.write(pruned, folder)
        elif study == "ptq":
            weights = ptq.run(
                model,
                trained=trained,
                data=data,
                bits=bits or ptq.BITS,
                recipe=recipe,
                limit=limit,
                time_axis=time_axis,
                progress=progress,
            )
            report, written = weights, ptq.write(weights, folder) if folder else written
        else:
            states = state_bits.run(
                model,
                data=data,
                bits=bits or state_bits.BITS,
                rules=rules or state_bits.RULES,
                recipe=recipe,
                limit=limit,
                time_axis=time_axis,
                progress=progress,
            )
            report, written = states, state_bits.write(states, folder) if folder else written
    output.report(report)
    for path in written:
        output.say(f"written: {path}")
