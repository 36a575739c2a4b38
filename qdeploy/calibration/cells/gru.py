"""Inside a GRU."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration.cells.registry import cell
from qdeploy.calibration.states import Arrays, sigmoid, states_before


@cell("GRU")
def gru(node: onnx.NodeProto, results: Arrays, weights: Arrays) -> dict[str, NDArray[np.float32]]:
    """The sums of a GRU over all steps, from the recorded states.

    ``gates`` are those before the sigmoids, ``candidate`` before the tanh; ``recalled`` is the candidate's W h + c,
    ``driven`` its U x + b.
    """
    before = states_before(node, results)
    driven = results[node.input[0]] @ weights[node.input[1]].T + weights[node.input[3]]
    recurrent = before @ weights[node.input[2]].T
    hidden = before.shape[-1]
    gates = recurrent[..., : 2 * hidden] + driven[..., : 2 * hidden]
    recalled = recurrent[..., 2 * hidden :] + weights[node.input[4]]
    reset = sigmoid(gates[..., :hidden])
    candidate = reset * recalled + driven[..., 2 * hidden :]
    return {"gates": gates, "candidate": candidate, "recalled": recalled, "driven": driven[..., 2 * hidden :]}
