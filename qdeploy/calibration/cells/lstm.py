"""Inside an LSTM."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration.cells.registry import cell
from qdeploy.calibration.states import Arrays, initial_cell_state, pre_activation, sigmoid


@cell("LSTM")
def lstm(node: onnx.NodeProto, results: Arrays, weights: Arrays) -> dict[str, NDArray[np.float32]]:
    """Of all steps: the sums before the sigmoids of i, f and o, those before the candidate's tanh, and the cell state.

    The cell state before the first step counts as well: the integers that hold the others must hold it too.
    """
    _, f, candidate, _ = before = np.split(pre_activation(node, results, weights), 4, axis=-1)
    forget, added = sigmoid(f), sigmoid(before[0]) * np.tanh(candidate)
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
