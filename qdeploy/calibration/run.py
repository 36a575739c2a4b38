"""One pass over the samples, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration.cells import CELLS
from qdeploy.calibration.states import initial_state
from qdeploy.calibration.statistics import Calibration, TensorStatistics
from qdeploy.capture.computed_weights import computed_weights, weight_nodes
from qdeploy.capture.functions import RECURRENT
from qdeploy.capture.index_inputs import index_tensors
from qdeploy.capture.session import FloatSession
from qdeploy.runtime.errors import InvalidInputError

Progress = Callable[[str, int, int], None]

SAMPLES_PER_TENSOR = 1 << 20
"""How many values of a tensor the percentiles are taken from, drawn evenly."""

BATCH = 32
"""Samples of one run, fewer where all tensors of them would be more than LARGEST_RUN numbers."""

LARGEST_RUN = 1 << 24

_VALUES_IN_ALL = 1 << 26
"""How many values are kept of all tensors together, whatever their number."""


def calibrate(
    model: onnx.ModelProto,
    feeds: Mapping[str, NDArray[Any]],
    batch_axes: Mapping[str, int],
    *,
    progress: Progress | None = None,
) -> Calibration:
    """Runs ``model`` on ``feeds`` in batches.

    Args:
        model: a float model in layer form (``qdeploy.capture``).
        feeds: samples by input name, in the model's layout; of indices (integers) nothing is recorded.
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
    shown = exposed(model)
    session = FloatSession(shown)
    names = [value.name for value in shown.graph.output]
    recurrent = {node.output[0]: node for node in shown.graph.node if node.op_type in RECURRENT and node.output[0]}
    real = [name for name, array in feeds.items() if array.dtype.kind == "f"]
    statistics = {name: TensorStatistics() for name in [*names, *real]}
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in shown.graph.initializer} | computed_weights(model)
    size = _batch_size(session, feeds, batch_axes)
    batches = -(-samples // size)
    kept = min(SAMPLES_PER_TENSOR, max(1, _VALUES_IN_ALL // max(1, len(statistics))))
    steps = 0
    for done, batch in enumerate(_batches(feeds, batch_axes, samples, size)):
        results = session.run(batch) | {name: batch[name] for name in real}
        for name, array in results.items():
            if not np.isfinite(array).all():
                raise InvalidInputError(
                    f"tensor {name} of the float model became NaN or infinite on the calibration samples; "
                    "check the weights and the samples' scale (the network was trained on which range?)."
                )
            if array.size:
                stride = max(1, array.size * batches // kept)
                statistics[name].update(array, stride)
        for name in real:
            statistics[name].update_grid(batch[name])
        for name, node in recurrent.items():
            statistics[name].update_steps(results[name])
            initial = results.get(initial_state(node))
            if initial is not None:
                statistics[name].update_initial(initial)
            steps = max(steps, results[name].shape[0])
            for part, values in CELLS[node.op_type](node, results, weights).items():
                inside = statistics.setdefault(f"{name}/{part}", TensorStatistics())
                inside.update(values, max(1, values.size * batches // kept))
        if progress:
            progress("calibrate", done + 1, batches)
    return Calibration(statistics, samples, steps)


def _batch_size(session: FloatSession, feeds: Mapping[str, NDArray[Any]], batch_axes: Mapping[str, int]) -> int:
    """How many samples a run takes: all tensors of a run are in memory at once."""
    (first,) = _batches(feeds, batch_axes, 1, 1)
    numbers = sum(array.size for array in session.run(first).values())
    return max(1, min(BATCH, LARGEST_RUN // max(1, numbers)))


def _batches(
    feeds: Mapping[str, NDArray[Any]], batch_axes: Mapping[str, int], samples: int, size: int
) -> Iterator[dict[str, NDArray[Any]]]:
    for start in range(0, samples, size):
        yield {
            name: np.ascontiguousarray(array.take(range(start, min(start + size, samples)), axis=batch_axes[name]))
            for name, array in feeds.items()
        }


def exposed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the result of every node among its outputs, recurrent states included."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    weights = {t.name for t in shown.graph.initializer}
    weights.update(name for node in weight_nodes(shown) for name in node.output)
    indices = index_tensors(shown)
    for node in shown.graph.node:
        if node.op_type in RECURRENT and not node.output[0]:
            node.output[0] = f"{node.output[1]}/states"
        # Indices, which layout operators move, have no range.
        if set(node.input) <= weights or node.output[0] in indices:
            continue
        for name in node.output:
            if name:
                shown.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return shown
