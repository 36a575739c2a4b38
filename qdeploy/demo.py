"""``make demo``: the main job on the shipped networks and real handwritten digits, and one table of what came out.

Each shipped network whose data are on this machine is exported, verified bit for bit over ten million integers or more,
validated and measured. The table also goes to ``report.json``, and a picture of it to ``report.png``.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from .demo_picture import draw
from .listing import Entry, listing, missing_datasets
from .runtime.errors import CheckFailedError, QdeployError
from .text_form import TextForm

if TYPE_CHECKING:
    from .bundle import Bundle

__all__ = ["COMPARED", "Row", "demonstrate", "main", "table"]

COMPARED = 10_000_000
"""Integers that verify compares for each network, at least."""
ALWAYS = ("qornn-digits", "quaternion-lenet300-digits")
"""Networks whose data need no download; compiled C is verified of these too (`make verify-c` does it of all)."""
MAX_DROP = 0.2
"""Points of accuracy that the integer network may lose, on sets of a thousand samples or more."""
MAX_DROP_OF = {"quaternion": 0.3}
"""The same of families with a limit of their own: of a quarter of the weights, each counts four times."""
MAX_FEWER_CORRECT = 2
"""On smaller sets: samples."""
TABLE_WIDTH = 140
"""Columns of text where nobody's terminal says."""


@dataclass(frozen=True)
class Row:
    """One network of the report; null where a field has no meaning, accuracies as fractions, sizes of files.

    Times are the best of many calls in turns: what else the machine does then counts for neither side. Without a loop, a step is
    a sample.
    """

    name: str
    family: str
    weight_bits: int | None
    activation_bits: int | None
    state_bits: int | None
    bytes_float32: int
    bytes_integer: int
    accuracy_float: float
    accuracy_integer: float
    samples: int
    disagreements: int
    compared_integers: int
    mismatched_integers: int
    us_per_step_float: float | None
    us_per_step_integer: float | None

    @property
    def passed(self) -> bool:
        """No integer differs, and accuracy holds."""
        lost = (self.accuracy_float - self.accuracy_integer) * self.samples
        points = MAX_DROP_OF.get(self.family, MAX_DROP)
        allowed = MAX_FEWER_CORRECT if self.samples < 1000 else points / 100 * self.samples
        enough = self.compared_integers >= COMPARED
        return enough and self.mismatched_integers == 0 and lost <= allowed + 1e-6


def demonstrate(names: list[str], folder: Path) -> list[Row]:
    """Export, verify, validate and measure each network, with a line to stderr for each."""
    rows = []
    for name in names:
        click.echo(f"{name} …", err=True)
        rows.append(_demonstrate(_shipped()[name], folder))
    return rows


def _demonstrate(entry: Entry, folder: Path) -> Row:
    from . import datasets, export_model
    from .capture import capture
    from .expanded_float import expanded_float
    from .runtime.engines import available

    data = entry.details["dataset"]
    bundle = export_model(entry.name, folder / entry.name, force=True)
    input_name = bundle.manifest.inputs[0].float_name
    some = datasets.load(data, "train", 8, indices=TextForm.of_bundle(bundle.manifest).indices)
    float_model = expanded_float(capture(entry.name, {input_name: some.x}).model)
    float_path = folder / f"{entry.name}-float32.onnx"
    float_path.write_bytes(float_model.SerializeToString())
    compared, mismatched = _verify(bundle, data)
    if entry.name in ALWAYS and available()["c"] is not None:
        compiled = bundle.verify(runtimes=["c"], data=data)
        compared, mismatched = compared + compiled.compared_integers, mismatched + compiled.mismatched_integers
    validated = bundle.validate(data)
    if validated.float_value is None or validated.integer_value is None or validated.disagreements is None:
        raise CheckFailedError(
            f"{entry.name}: validation on {data} found no labels or no float baseline to compare with."
        )
    measured = bundle.bench(runtimes=["onnxruntime"], float_model=float_path)
    return Row(
        name=entry.name,
        family=_family(entry.details["architecture"], entry.details["hyperparameters"]),
        weight_bits=_weight_bits(bundle),
        activation_bits=_bits(tensor.bits for tensor in bundle.manifest.tensors.values() if tensor.dtype == "uint8"),
        state_bits=_bits(state.bits for state in bundle.manifest.states),
        bytes_float32=float_path.stat().st_size,
        bytes_integer=(bundle.path / "model.onnx").stat().st_size,
        accuracy_float=validated.float_value,
        accuracy_integer=validated.integer_value,
        # Of a network that answers at every step, the steps: that is what disagreements are counted among.
        samples=validated.decisions,
        disagreements=validated.disagreements,
        compared_integers=compared,
        mismatched_integers=mismatched,
        us_per_step_float=measured.row("float").best,
        us_per_step_integer=measured.row("onnxruntime").best,
    )


def _verify(bundle: Bundle, data: str) -> tuple[int, int]:
    """Verify with one seed after the other until enough integers are compared: (compared, mismatched)."""
    compared = mismatched = 0
    for seed in itertools.count():
        report = bundle.verify(data=data, seed=seed)
        compared += report.compared_integers
        mismatched += report.mismatched_integers
        if compared >= COMPARED or not report.passed:
            break
    return compared, mismatched


def _family(architecture: str, hyperparameters: Mapping[str, Any]) -> str:
    if "cell" in hyperparameters:
        return str(hyperparameters["cell"])
    if "kind" in hyperparameters:
        return str(hyperparameters["kind"])
    families = {"orthogonal": "orthogonal RNN", "quaternion": "quaternion"}
    return next((family for prefix, family in families.items() if architecture.startswith(prefix)), "real")


def _weight_bits(bundle: Bundle) -> int | None:
    """Of the layer that has most of the weights: an output layer may keep more bits than the loop."""
    layers = [layer.extra for layer in bundle.manifest.layers if layer.extra.get("weight_bits") is not None]
    return max(layers, key=lambda extra: extra.get("parameters") or 0)["weight_bits"] if layers else None


def _bits(found: Iterable[int | None]) -> int | None:
    """The most bits of any: what a reader would call the model's bits."""
    return max((bits for bits in found if bits is not None), default=None)


def _shipped() -> dict[str, Entry]:
    return {entry.name: entry for entry in listing("models") if entry.details["shipped"]}


def _names() -> list[str]:
    """Those that are always there first, then the others whose data are on this machine."""
    shipped = _shipped()
    lacking = missing_datasets(entry.details["dataset"] for entry in shipped.values())
    present = [name for name, entry in shipped.items() if entry.details["dataset"] not in lacking]
    return [*ALWAYS, *(name for name in present if name not in ALWAYS)]


def table(rows: list[Row]) -> Table:
    """The table for a terminal."""
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("network", no_wrap=True)
    for heading in ("bits\nW/A/state", "ONNX\nbytes", "of\nfloat32", "accuracy\nfloat", "accuracy\ninteger"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for heading in ("disagree", "integers\ndiffering", "µs a\nstep", "float's"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*_cells(row))
    return drawn


def _cells(row: Row) -> tuple[str, ...]:
    bits = (row.weight_bits, row.activation_bits, row.state_bits)
    times = (row.us_per_step_integer, row.us_per_step_float)
    return (
        row.name,
        "/".join("–" if value is None else str(value) for value in bits),
        f"{row.bytes_integer:,}",
        f"{row.bytes_integer / row.bytes_float32:.1%}",
        f"{row.accuracy_float:.2%}",
        f"{row.accuracy_integer:.2%}",
        f"{row.disagreements} of {row.samples:,}",
        f"{row.mismatched_integers} of {row.compared_integers / 1e6:.1f}M",
        *("–" if value is None else f"{value:.2f}" for value in times),
    )


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("build/demo"), show_default=True)
@click.argument("names", nargs=-1)
def main(output: Path, names: tuple[str, ...]) -> None:
    """Demonstrate the shipped networks NAMES, or all whose data are on this machine."""
    output.mkdir(parents=True, exist_ok=True)
    try:
        rows = demonstrate(list(names) or _names(), output)
    except QdeployError as error:
        click.echo(f"demo: {error}", err=True)
        sys.exit(error.exit_code)
    (output / "report.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    Console(width=None if sys.stdout.isatty() else TABLE_WIDTH).print(table(rows))
    draw(rows, output / "report.png")
    failed = [row.name for row in rows if not row.passed]
    if failed:
        click.echo(f"demo: failed: {', '.join(failed)}", err=True)
        sys.exit(1)
    click.echo(f"every integer agrees; report in {output / 'report.json'}, picture in {output / 'report.png'}")


if __name__ == "__main__":
    main()
