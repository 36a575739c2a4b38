"""Inside a simple recurrent layer."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration.cells.registry import cell
from qdeploy.calibration.states import Arrays, pre_activation, text_attribute


@cell("RNN")
def rnn(node: onnx.NodeProto, results: Arrays, weights: Arrays) -> dict[str, NDArray[np.float32]]:
    """W h_{t-1} + U x_t + b of all steps, unless the activation is homogeneous and needs no range of its own."""
    if text_attribute(node, "activation") in ("relu", "linear"):
        return {}
    return {"pre_activation": pre_activation(node, results, weights)}
