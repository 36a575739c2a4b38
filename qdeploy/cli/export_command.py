"""``qdeploy export``: trained model to bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .byte_size import byte_size
from .options import Output, common_options, seed_option
from .progress import progress_bars

if TYPE_CHECKING:
    from qdeploy.bundle import Bundle

FORMATS = ("onnx", "tflite", "c")


def _formats(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    del context, parameter
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in FORMATS:
            raise click.BadParameter(f"{name!r} is not a format; there are {', '.join(FORMATS)}")
    return names


def _names(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    del context, parameter
    return tuple(name.strip() for given in value for name in given.split(",") if name.strip())


def _number(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    del context, parameter
    return None if value is None else int(value)


@click.command("export")
@click.argument("model", required=False)
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), help="Folder of the bundle.")
@click.option("--format", "formats", default="onnx", show_default=True, callback=_formats, help="Comma separated.")
@click.option(
    "--target",
    "targets",
    metavar="NAME",
    multiple=True,
    callback=_names,
    help="Boards to compile C for, comma separated (`qdeploy list targets`).",
)
@click.option(
    "--c-library", type=click.Choice(["arduino", "platformio"]), help="Write the C sources as such a library too."
)
@click.option(
    "--flash", metavar="SIZE", callback=byte_size, help="Flash of the board, as in 256K; the target's if not given."
)
@click.option(
    "--ram", metavar="SIZE", callback=byte_size, help="RAM of the board, as in 64K; the target's if not given."
)
@click.option(
    "--max-steps",
    type=click.IntRange(1, 2**24),
    help="Longest sequence in C of a network that takes whole ones; the calibration's if not given.",
)
@click.option(
    "--calibration", metavar="DATA", help=".npy, .npz (keys: input names, axis 0: samples) or a data set's name."
)
@click.option("--evaluation", metavar="DATA", help="Data whose float outputs the bundle keeps, to count disagreements.")
@click.option("--recipe", default="default", show_default=True, help="Quantization recipe: a name or a JSON file.")
@click.option("--weight-bits", type=click.IntRange(1, 8), help="Bits of weights.")
@click.option("--activation-bits", type=click.IntRange(2, 8), help="Bits of activations.")
@click.option("--state-bits", type=click.IntRange(2, 16), help="Bits of recurrent states.")
@click.option(
    "--multiplier-bits",
    type=click.Choice(["1", "15", "31"]),
    callback=_number,
    help="Bits of multipliers; 1 means powers of two.",
)
@click.option(
    "--recurrent-rounding",
    type=click.Choice(["auto", "nearest", "shaped"]),
    help="Of an orthogonal recurrent weight: to the nearest level, or so that its eigenvalues stay.",
)
@click.option(
    "--state-range",
    type=click.Choice(["minmax", "percentile", "mse", "power-of-two"]),
    help="How the range of recurrent states is chosen from calibration.",
)
@click.option(
    "--batch-norm",
    type=click.Choice(["stage", "fold"]),
    help="Batch normalization kept out of the weights, or folded into them (quaternion matrices in full); default: the "
    "smaller file.",
)
@click.option(
    "--conv-kernels",
    type=click.Choice(["strict", "qlinear"]),
    help="Convolutions in integers alone (strict), or by QLinearConv where its single precision is exact: faster, but not "
    "integer-only; default: strict.",
)
@click.option(
    "--tflite-kernels",
    type=click.Choice(["portable", "builtin"]),
    help="LiteRT files of operators with the same bits everywhere (portable), or of LiteRT's own int8 kernels where they are "
    "exact: faster, but with its rounding (docs/litert_kernels.md); default: portable.",
)
@click.option("--time-axis", type=int, help="Axis of time in the input.")
@click.option("--entry", metavar="MODULE:FUNCTION", help="Function that returns your torch module (runs your code).")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Weights for the module of --entry (.safetensors or .pt)."
)
@click.option(
    "--architecture",
    type=click.Path(path_type=Path),
    metavar="JSON",
    help="What a checkpoint of another library does not hold (docs/importing.md).",
)
@click.option("--inline", is_flag=True, help="Write no functions, for runtimes that know none.")
@click.option(
    "--storage",
    type=click.Choice(["compact", "expanded"]),
    default="compact",
    show_default=True,
    help="Quaternion weights and packed bits as they are, or in full.",
)
@click.option("--float-io", is_flag=True, help="Float inputs and outputs around the integer graph.")
@click.option("--zip", "zipped", is_flag=True, help="Write one .zip instead of a folder.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@click.option("--dry-run", is_flag=True, help="Do everything but write.")
@click.option("--limit", type=click.IntRange(1), help="Use at most this many calibration and evaluation samples.")
@seed_option
@common_options
def command(
    model: str | None,
    folder: Path | None,
    entry: str | None,
    weights: Path | None,
    zipped: bool,
    output: Output,
    **options: Any,
) -> None:
    """Turn MODEL into an integer-only bundle.

    MODEL is a checkpoint (.pt, .safetensors), the name of a shipped one (`qdeploy list models`), or a float .onnx file;
    or give a module of your own with --entry. With --architecture, MODEL is a state dict of projUNN, expRNN, geotorch,
    torch's orthogonal parametrization, HadamRNN, Pytorch-Quaternion-Neural-Networks, SpeechBrain, hTorch, qytorch, HyperNets or
    of Keras (.h5).

    \b
    qdeploy export qornn-digits -o out
    qdeploy export qornn-digits -o out --format onnx,c --target pi4,host
    qdeploy export model.onnx --calibration data.npz -o out
    qdeploy export --entry mynet:build --weights w.safetensors --calibration data.npz -o out
    qdeploy export projunn.pt --architecture projunn.json --calibration data.npz -o out
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    import qdeploy

    if (model is None) == (entry is None):
        raise click.UsageError("give either MODEL or --entry MODULE:FUNCTION")
    if options["architecture"] is not None and model is None:
        raise click.UsageError("--architecture describes the checkpoint that MODEL names")
    if weights is not None and entry is None:
        raise click.UsageError("--weights belongs to --entry; a checkpoint or an .onnx file holds its own")
    if folder is None:
        if not options["dry_run"]:
            raise click.UsageError("give -o FOLDER, or --dry-run to write nothing")
        folder = Path("bundle")
    source: Any = model
    if entry is not None:
        from qdeploy.capture.user_module import load_entry

        source = load_entry(entry, weights)
    with progress_bars(output) as progress:
        bundle = qdeploy.export_model(source, folder, zip=zipped, progress=progress, **options)
    _tell(bundle, output, dry_run=options["dry_run"])


def _tell(bundle: Bundle, output: Output, *, dry_run: bool) -> None:
    if output.quiet and not output.json:
        return
    output.report(bundle.inspect(), path=None if dry_run else str(bundle.path))
    if dry_run:
        output.say("nothing written (--dry-run)")
    else:
        output.say(f"written: {bundle.path}\nnext:    qdeploy verify {bundle.path}")
