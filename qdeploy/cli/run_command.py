"""``qdeploy run``: one inference of a bundle, streaming too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import Output, bundle_argument, common_options, litert_options, trust_option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qdeploy.runtime.litert_options import LitertOptions


@click.command("run")
@bundle_argument
@click.option(
    "--input", "inputs", metavar="[NAME=]FILE", multiple=True, required=True, help=".npy, or .npz by input names."
)
@click.option(
    "--state", type=click.Path(path_type=Path), metavar="FILE", help="State to start from, as --save-state wrote it."
)
@click.option(
    "--save-state", type=click.Path(path_type=Path), metavar="FILE", help="Write the last state to this .npz."
)
@click.option("--output", "target", type=click.Path(path_type=Path), metavar="FILE", help="Write outputs to this .npz.")
@click.option("--raw", is_flag=True, help="Leave outputs integer.")
@click.option("--runtime", default="onnxruntime", show_default=True, help="Runtime that computes.")
@litert_options
@trust_option
@common_options
def command(
    bundle: str,
    inputs: tuple[str, ...],
    state: Path | None,
    save_state: Path | None,
    target: Path | None,
    raw: bool,
    runtime: str,
    trust: bool,
    litert: LitertOptions | None,
    output: Output,
) -> None:
    """Compute BUNDLE on arrays from files.

    Float input is quantized as ONNX QuantizeLinear does, integers are taken as they are; `qdeploy inspect`
    shows the inputs' axes. A stream goes on where the last call stopped:

    \b
    qdeploy run out --input first.npy  --save-state state.npz
    qdeploy run out --input second.npy --state state.npz --save-state state.npz
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    import qdeploy

    for path in (target, save_state):
        if path is not None and path.suffix != ".npz":
            raise click.UsageError(f"{path}: the file to write must end in .npz")
    opened = qdeploy.load(bundle, trust=trust)
    session = opened.session(runtime=runtime, raw=raw, litert=litert)
    if state is not None:
        session.load_state(state)
    outputs: dict[str, NDArray[Any]] = session.run(_read_inputs(inputs))
    if save_state is not None:
        session.save_state(save_state)
    if target is not None:
        _save(target, outputs)
        output.say(f"written: {target}")
    else:
        click.echo(_as_json(outputs))


def _read_inputs(given: tuple[str, ...]) -> dict[str, NDArray[Any]] | NDArray[Any]:
    """``NAME=FILE`` names an array; a lone ``.npy`` is the only input."""
    from qdeploy.arrays import read_arrays

    arrays: dict[str, NDArray[Any]] = {}
    for text in given:
        name, separator, path = text.partition("=")
        if not separator or Path(text).is_file():
            name, path = "", text
        for key, array in read_arrays(path).items():
            if name and key:
                raise click.UsageError(f"--input {text}: an .npz names its arrays itself; leave {name}= out")
            arrays[name or key] = array
    if "" in arrays:
        if len(arrays) > 1:
            raise click.UsageError("--input: several inputs need their names, as in --input x=x.npy")
        return arrays[""]
    return arrays


def _as_json(outputs: dict[str, NDArray[Any]]) -> str:
    """An array a line, float32 with the fewest digits that give it back."""
    lines = []
    for name, array in outputs.items():
        values = array.astype(str).astype(float) if array.dtype.kind == "f" else array
        lines.append(f"  {json.dumps(name)}: {json.dumps(values.tolist())}")
    return "{\n" + ",\n".join(lines) + "\n}"


def _save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write an ``.npz`` under a temporary name first, so that it is whole or absent."""
    import numpy as np

    temporary = path.with_name(f".{path.name}.partial.npz")
    try:
        np.savez(temporary, allow_pickle=False, **arrays)
        temporary.replace(path)
    except OSError as error:
        raise click.UsageError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
