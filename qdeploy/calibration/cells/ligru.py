"""Inside a LiGRU."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration.cells.registry import cell
from qdeploy.calibration.states import Arrays, pre_activation


@cell("LiGRU")
def ligru(node: onnx.NodeProto, results: Arrays, weights: Arrays) -> dict[str, NDArray[np.float32]]:
    """Of all steps, the sums before the gate's sigmoid and those before the candidate's activation."""
    candidate, gate = np.split(pre_activation(node, results, weights), 2, axis=-1)
    return {"candidate": candidate, "gate": gate}
