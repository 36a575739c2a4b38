"""What is recorded inside a recurrent cell: a function of the node, the recorded tensors and the weights, by operator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration.states import Arrays

Inside = Callable[[onnx.NodeProto, Arrays, Arrays], dict[str, NDArray[np.float32]]]

CELLS: dict[str, Inside] = {}


def cell(operator: str) -> Callable[[Inside], Inside]:
    """Registers what gives the values inside a layer of ``operator`` over all steps, by the name of the part.

    They are found in the calibration as ``<states>/<part>``.
    """

    def register(inside: Inside) -> Inside:
        CELLS[operator] = inside
        return inside

    return register
