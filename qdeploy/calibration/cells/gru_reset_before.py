"""Inside a GRU whose reset gate stands before the recurrent product."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration.cells.registry import cell
from qdeploy.calibration.states import Arrays, pre_activation, sigmoid, states_before


@cell("GRUResetBefore")
def gru_reset_before(node: onnx.NodeProto, results: Arrays, weights: Arrays) -> dict[str, NDArray[np.float32]]:
    """The sums over all steps, from the recorded states: ``gates`` before the sigmoids, ``candidate`` before the tanh."""
    before = states_before(node, results)
    hidden = before.shape[-1]
    sums = pre_activation(node, results, weights)
    gates, candidate = sums[..., : 2 * hidden], sums[..., 2 * hidden :]
    # W (r h) in place of W h.
    lost = (np.float32(1) - sigmoid(gates[..., :hidden])) * before
    candidate = candidate - (lost @ weights[node.input[2]][2 * hidden :].T).astype(np.float32)
    return {"gates": gates, "candidate": candidate}
