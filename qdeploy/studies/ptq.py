"""Why an orthogonal network is trained on the grid: weights quantized after training against weights trained on it.

A float network's weights are brought to k bits after training in two ways: on the grid q_k of quantized orthogonal networks
(W, U and V, each with its own largest magnitude), and by a recipe with ``weight_bits`` k. Rounding moves W away from the
orthogonal matrices; what one step stretches or shrinks, hundreds of steps raise to that power. A network that was trained
with q_k in the loop found weights on the grid that bear it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from qdeploy.quantize import IntegerModel, Recipe, load_recipe, quantize
from qdeploy.quantize.grid import on_grid, recognise_grid
from qdeploy.quantize.orthogonality import Orthogonality
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.studies.subject import Loss, Subject, first_recurrent

__all__ = ["BITS", "PtqReport", "run", "write"]

BITS = (3, 4, 5, 6, 8)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Quantized:
    """One network with weights of k bits.

    Attributes:
        how: ``q_k`` or ``recipe`` (after training), or ``trained`` (on the grid).
        name: the network's.
        bits: k.
        float_loss: of the k-bit weights run in float: what the weights alone cost.
        integer_loss: of the integer model.
        recurrent: of the deployed W.
        compared, differing: integers that reference and onnxruntime both computed, and those that differ.
    """

    how: str
    name: str
    bits: int
    float_loss: Loss | None
    integer_loss: Loss
    recurrent: Orthogonality
    compared: int
    differing: int


@dataclass(frozen=True)
class PtqReport:
    """The study's table.

    Attributes:
        model, data: the float network, and what all are judged on.
        samples: of the test.
        float_loss: of the float network.
        recurrent: of its W.
        recipe: the recipe's name; its state and activations serve all networks.
        rows: by k.
    """

    model: str
    data: str
    samples: int
    float_loss: Loss
    recurrent: Orthogonality
    recipe: str
    rows: tuple[Quantized, ...]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json`` and the file."""
        plain = asdict(self)
        for entry, row in zip(plain["rows"], self.rows, strict=True):
            entry["recurrent"]["deviation"] = row.recurrent.deviation
        return plain

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            (
                f"{self.model} on {self.data}: {self.samples:,} test samples; float accuracy "
                f"{100 * self.float_loss.accuracy:.2f} %, |W W^T - I| {self.recurrent.frobenius:.3g}"
            ),
            "",
            "k  weights                          accuracy:  in float   integer   cross-entropy   |W W^T - I|   largest |s - 1|",
        ]
        labels = {"q_k": "after training, q_k", "recipe": f"after training, {self.recipe}"}
        for row in self.rows:
            label = labels.get(row.how, f"trained: {Path(row.name).stem}")
            alone = "" if row.float_loss is None else f"{100 * row.float_loss.accuracy:.2f} %"
            lines.append(
                f"{row.bits}  {label[:38]:38} {alone:>14} {100 * row.integer_loss.accuracy:7.2f} % "
                f"{row.integer_loss.cross_entropy:15.3g} {row.recurrent.frobenius:13.3g} {row.recurrent.deviation:17.3g}"
            )
        lines += [
            "",
            "s: singular values of the deployed W; |.|: Frobenius norm",
        ]
        compared, differing = sum(row.compared for row in self.rows), sum(row.differing for row in self.rows)
        lines.append(f"{differing} of {compared:,} integers differ between numpy and onnxruntime")
        return lines


def run(
    model: str | Path = "ornn-digits",
    *,
    trained: Sequence[str | Path] = (),
    data: str | None = None,
    bits: Sequence[int] = BITS,
    recipe: str | Path | Recipe = "default",
    limit: int | None = None,
    time_axis: int | None = None,
    progress: Progress | None = None,
) -> PtqReport:
    """Quantizes ``model`` after training to each number of bits, and judges it beside networks trained on the grid.

    Args:
        model: a float recurrent network, as ``qdeploy export`` takes it.
        trained: networks of the same task whose weights lie on a q_k grid; their k is read off their weights.
        data: what all are calibrated and judged on; by default the set that ``model`` was trained on.
        bits: k, each 2 to 8.
        recipe: gives states, activations and multipliers; its ``weight_bits`` are replaced.
        limit: at most so many test samples.
        time_axis: of the input, as ``qdeploy export`` takes it.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: ``model`` has no recurrent layer or lies on a grid itself, or one of ``trained`` does not.
    """
    if not bits or not all(2 <= k <= 8 for k in bits):
        raise InvalidInputError(f"weight bits {list(bits)}; expected numbers of 2 to 8.")
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    subject = Subject.load(model, data, limit, time_axis=time_axis)
    weight = _recurrent_weight(subject.captured.model)
    if recognise_grid(weight) is not None:
        raise InvalidInputError(
            f"{model}: its recurrent weight lies on a quantization grid already; give a float network."
        )
    rows: list[Quantized] = []
    total = 2 * len(bits) + len(trained)

    def said(done: int) -> None:
        if progress:
            progress("weights", done, total)

    for k in bits:
        said(len(rows))
        gridded = subject.with_weights(weights_on_grid(subject.captured.model, k), data)
        rows.append(_judged("q_k", gridded, base, k, float_loss=gridded.float_loss()))
        said(len(rows))
        rows.append(_judged("recipe", subject, base.changed(weight_bits=k), k))
    for name in trained:
        said(len(rows))
        peer = Subject.load(name, data or subject.test.source, limit, time_axis=time_axis)
        rows.append(_judged("trained", peer, base, None, float_loss=peer.float_loss()))
    order = {"q_k": 0, "recipe": 1, "trained": 2}
    return PtqReport(
        model=subject.name,
        data=subject.test.source,
        samples=len(subject.labels),
        float_loss=subject.float_loss(),
        recurrent=Orthogonality.of(weight),
        recipe=base.name,
        rows=tuple(sorted(rows, key=lambda row: (row.bits, order[row.how]))),
    )


def weights_on_grid(model: onnx.ModelProto, bits: int) -> onnx.ModelProto:
    """A copy of a float model in layer form whose recurrent and linear weights are q_k of what they were."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    places = {"RNN": (1, 2), "Linear": (1,)}
    names = {node.input[place] for node in changed.graph.node for place in places.get(node.op_type, ())}
    for tensor in changed.graph.initializer:
        if tensor.name in names:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(on_grid(array, bits), tensor.name))
    return changed


def write(report: PtqReport, folder: Path) -> list[Path]:
    """Writes ``ptq.json`` into ``folder``, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "ptq.json"
    table.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    return [table]


def _judged(
    how: str, subject: Subject, recipe: Recipe, bits: int | None, *, float_loss: Loss | None = None
) -> Quantized:
    integers = quantize(subject.captured.model, subject.statistics, recipe)
    layer = first_recurrent(integers)
    if how != "recipe" and not layer["exact_grid"]:
        raise InvalidInputError(f"{subject.name}: its weights lie on no q_k grid of at most 8 bits.")
    compared, differing = subject.compare_engines(integers)
    return Quantized(
        how=how,
        name=subject.name,
        bits=layer["weight_bits"] if bits is None else bits,
        float_loss=float_loss,
        integer_loss=subject.integer_loss(integers),
        recurrent=_deployed(integers),
        compared=compared,
        differing=differing,
    )


def _deployed(integers: IntegerModel) -> Orthogonality:
    layer = first_recurrent(integers)
    low, high = layer["singular_values_integer"]
    return Orthogonality(layer["orthogonality_frobenius_integer"], layer["orthogonality_integer"], low, high)


def _recurrent_weight(model: onnx.ModelProto) -> Any:
    node = next((node for node in model.graph.node if node.op_type == "RNN"), None)
    if node is None:
        raise InvalidInputError("the network has no recurrent layer, which this study is about.")
    return next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == node.input[2])
