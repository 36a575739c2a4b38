"""Calibration: runs the float model on real samples and records what quantization needs of every tensor.

For each tensor: the smallest and the largest value, percentiles, and whether all values lie on a power-of-two grid
(pixels do). For each recurrent layer: the same over time, step by step, and of what is inside its cell
(``qdeploy.calibration.cells``): the sums before its activations, an LSTM's cell state.
"""

from __future__ import annotations

from qdeploy.calibration.run import calibrate
from qdeploy.calibration.states import initial_cell_state, initial_state
from qdeploy.calibration.statistics import Calibration, TensorStatistics

__all__ = ["Calibration", "TensorStatistics", "calibrate", "initial_cell_state", "initial_state"]
