"""Calibration: runs the float model on real samples and records what quantization needs of every tensor.

For each tensor: the smallest and the largest value, percentiles, and whether all values lie on a power-of-two grid
(pixels do). For each recurrent layer: the same over time, step by step, and of the sums before the activation;
of an LSTM also of its cell state over all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.capture.functions import RECURRENT
from qdeploy.capture.session import FloatSession
from qdeploy.histogram import MagnitudeHistogram
from qdeploy.runtime.errors import InvalidInputError

Progress = Callable[[str, int, int], None]

SAMPLES_PER_TENSOR = 1 << 20
"""How many values of a tensor the percentiles are taken from, drawn evenly."""

BATCH = 32


@dataclass
class TensorStatistics:
    """What was seen of one tensor.

    Attributes:
        low, high: the smallest and the largest value.
        values: a sample of the values, float32 ``[n]``.
        grid_bits: the smallest b >= 0 such that every value times 2^b is an integer, or None.
        step_largest: of recurrent states, the largest absolute value of each step, ``[T]``.
        magnitudes: of recurrent states, a histogram over all values of all steps.
    """

    low: float = np.inf
    high: float = -np.inf
    values: list[NDArray[np.float32]] = field(default_factory=list)
    grid_bits: int | None = 0
    step_largest: NDArray[np.float64] | None = None
    magnitudes: MagnitudeHistogram = field(default_factory=MagnitudeHistogram)

    def update(self, array: NDArray[np.float32], stride: int) -> None:
        """Takes in one batch."""
        self.low = min(self.low, float(array.min()))
        self.high = max(self.high, float(array.max()))
        self.values.append(np.ascontiguousarray(array.reshape(-1)[::stride]))

    def update_grid(self, array: NDArray[np.float32]) -> None:
        """Keeps the coarsest power-of-two grid that holds all values seen, up to 2^-15."""
        while self.grid_bits is not None:
            scaled = array * np.float32(2.0**self.grid_bits)
            if (scaled == np.rint(scaled)).all():
                return
            self.grid_bits = self.grid_bits + 1 if self.grid_bits < 15 else None

    def update_steps(self, states: NDArray[np.float32]) -> None:
        """Takes in states ``[T, B, H]``."""
        self.magnitudes.update(states)
        largest = np.abs(states).max(axis=(1, 2)).astype(np.float64)
        if self.step_largest is None:
            self.step_largest = largest
        else:
            length = max(len(largest), len(self.step_largest))
            padded = [np.pad(part, (0, length - len(part))) for part in (largest, self.step_largest)]
            self.step_largest = np.maximum(*padded)

    def update_initial(self, state: NDArray[np.float32]) -> None:
        """Takes in the state before the first step ``[B, H]``: the integers that hold the states must hold it too."""
        self.low, self.high = min(self.low, float(state.min())), max(self.high, float(state.max()))
        self.magnitudes.update(state)

    def bounds(self, method: str, percentile: float) -> tuple[float, float]:
        """The range to represent: (low, high) by ``minmax`` or by ``percentile`` of the values."""
        if method == "minmax":
            return self.low, self.high
        sample = np.concatenate(self.values)
        tail = (100.0 - percentile) / 2 if self.low < 0 else 100.0 - percentile
        return float(np.percentile(sample, tail)) if self.low < 0 else self.low, float(
            np.percentile(sample, 100.0 - tail)
        )


@dataclass(frozen=True)
class Calibration:
    """Statistics of every tensor by name, and how many samples and steps they come from."""

    tensors: Mapping[str, TensorStatistics]
    samples: int
    steps: int

    def __getitem__(self, name: str) -> TensorStatistics:
        return self.tensors[name]


def calibrate(
    model: onnx.ModelProto,
    feeds: Mapping[str, NDArray[np.float32]],
    batch_axes: Mapping[str, int],
    *,
    progress: Progress | None = None,
) -> Calibration:
    """Runs ``model`` on ``feeds`` in batches.

    Args:
        model: a float model in layer form (``qdeploy.capture``).
        feeds: samples by input name, in the model's layout.
        batch_axes: the axis of the samples of every input.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: no samples, or a tensor becomes NaN or infinite on them.
    """
    counts = {feeds[name].shape[axis] for name, axis in batch_axes.items()}
    if counts == {0} or not counts:
        raise InvalidInputError("calibration got no samples; give at least one, better a hundred, of real input.")
    if len(counts) > 1:
        raise InvalidInputError(f"the calibration inputs have different numbers of samples: {sorted(counts)}.")
    samples = counts.pop()
    shown = _exposed(model)
    session = FloatSession(shown)
    names = [value.name for value in shown.graph.output]
    recurrent = {node.output[0]: node for node in shown.graph.node if node.op_type in RECURRENT and node.output[0]}
    statistics = {name: TensorStatistics() for name in [*names, *feeds]}
    pre_activations = {name: TensorStatistics() for name in recurrent}
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in shown.graph.initializer}
    batches = list(_batches(feeds, batch_axes, samples))
    steps = 0
    for done, batch in enumerate(batches):
        results = session.run(batch) | batch
        for name, array in results.items():
            if not np.isfinite(array).all():
                raise InvalidInputError(
                    f"tensor {name} of the float model became NaN or infinite on the calibration samples; "
                    "check the weights and the samples' scale (the network was trained on which range?)."
                )
            if array.size:
                stride = max(1, array.size * len(batches) // SAMPLES_PER_TENSOR)
                statistics[name].update(array, stride)
        for name in batch:
            statistics[name].update_grid(batch[name])
        for name, node in recurrent.items():
            statistics[name].update_steps(results[name])
            initial = results.get(initial_state(node))
            if initial is not None:
                statistics[name].update_initial(initial)
            steps = max(steps, results[name].shape[0])
            if node.op_type == "GRU":
                for part, values in _inside_gru(node, results, weights).items():
                    statistics.setdefault(f"{name}/{part}", TensorStatistics()).update(values, values.size)
            elif node.op_type == "LSTM":
                for part, values in _inside_lstm(node, results, weights).items():
                    inside = statistics.setdefault(f"{name}/{part}", TensorStatistics())
                    inside.update(values, max(1, values.size * len(batches) // SAMPLES_PER_TENSOR))
            elif _attribute(node, "activation") not in ("relu", "linear"):
                before = _pre_activation(node, results, weights)
                pre_activations[name].update(before, max(1, before.size * len(batches) // SAMPLES_PER_TENSOR))
        if progress:
            progress("calibrate", done + 1, len(batches))
    for name, found in pre_activations.items():
        if found.values:
            statistics[f"{name}/pre_activation"] = found
    return Calibration(statistics, samples, steps)


def _batches(
    feeds: Mapping[str, NDArray[Any]], batch_axes: Mapping[str, int], samples: int
) -> Iterator[dict[str, NDArray[np.float32]]]:
    for start in range(0, samples, BATCH):
        yield {
            name: np.ascontiguousarray(
                array.take(range(start, min(start + BATCH, samples)), axis=batch_axes[name]), dtype=np.float32
            )
            for name, array in feeds.items()
        }


def _exposed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the result of every node among its outputs, recurrent states included."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    weights = {t.name for t in shown.graph.initializer}
    for node in shown.graph.node:
        if node.op_type in RECURRENT and not node.output[0]:
            node.output[0] = f"{node.output[1]}/states"
        if set(node.input) <= weights:
            continue
        for name in node.output:
            if name:
                shown.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return shown


def _pre_activation(
    node: onnx.NodeProto, results: Mapping[str, NDArray[np.float32]], weights: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """W h_{t-1} + U x_t + b of all steps, from the recorded states."""
    x = results[node.input[0]]
    before = _states_before(node, results)
    sums: NDArray[np.float32] = (
        before @ weights[node.input[2]].T + x @ weights[node.input[1]].T + weights[node.input[3]]
    )
    return sums


def _inside_gru(
    node: onnx.NodeProto, results: Mapping[str, NDArray[np.float32]], weights: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """The sums of a GRU over all steps, from the recorded states.

    ``gates`` are those before the sigmoids, ``candidate`` before the tanh; ``recalled`` is the candidate's W h + c,
    ``driven`` its U x + b.
    """
    before = _states_before(node, results)
    driven = results[node.input[0]] @ weights[node.input[1]].T + weights[node.input[3]]
    recurrent = before @ weights[node.input[2]].T
    hidden = before.shape[-1]
    gates = recurrent[..., : 2 * hidden] + driven[..., : 2 * hidden]
    recalled = recurrent[..., 2 * hidden :] + weights[node.input[4]]
    reset = _sigmoid(gates[..., :hidden])
    candidate = reset * recalled + driven[..., 2 * hidden :]
    return {"gates": gates, "candidate": candidate, "recalled": recalled, "driven": driven[..., 2 * hidden :]}


def _states_before(node: onnx.NodeProto, results: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """h_{t-1} of all steps."""
    states = results[node.output[0]]
    initial = results.get(initial_state(node))
    first = np.zeros_like(states[:1]) if initial is None else initial[None]
    return np.concatenate([first, states[:-1]])


def initial_state(node: onnx.NodeProto) -> str:
    """The name of a recurrent node's initial state, empty where it is zero."""
    place = 5 if node.op_type == "GRU" or _attribute(node, "activation") == "modrelu" else 4
    return str(node.input[place]) if len(node.input) > place else ""


def initial_cell_state(node: onnx.NodeProto) -> str:
    """The name of an LSTM's initial cell state, empty where it is zero."""
    return str(node.input[5]) if len(node.input) > 5 else ""


def _attribute(node: onnx.NodeProto, name: str) -> str:
    return next((a.s.decode() for a in node.attribute if a.name == name), "")


def _inside_lstm(
    node: onnx.NodeProto, results: Mapping[str, NDArray[np.float32]], weights: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Of all steps: the sums before the sigmoids of i, f and o, those before the candidate's tanh, and the cell state.

    The cell state before the first step counts as well: the integers that hold the others must hold it too.
    """
    _, f, candidate, _ = before = np.split(_pre_activation(node, results, weights), 4, axis=-1)
    forget, added = _sigmoid(f), _sigmoid(before[0]) * np.tanh(candidate)
    cell = results.get(initial_cell_state(node), np.zeros_like(added[0]))
    cells = [cell]
    for step in range(len(added)):
        cell = forget[step] * cell + added[step]
        cells.append(cell)
    return {
        "gates": np.concatenate([before[0], f, before[3]], axis=-1),
        "candidate": candidate,
        "cell": np.stack(cells),
    }


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without an overflow of the exponential."""
    result: NDArray[np.float32] = np.float32(0.5) + np.float32(0.5) * np.tanh(values * np.float32(0.5))
    return result
