"""Calibration looks at every step of every recurrent cell, and ``inspect`` says what it saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip

import qdeploy  # noqa: E402  # after the skip
from qdeploy.calibration.cells import CELLS  # noqa: E402  # after the skip
from qdeploy.capture.functions import RECURRENT  # noqa: E402  # after the skip

UNITS, STEPS = 6, 9


class Network(nn.Module):
    """One recurrent layer and an answer at every step."""

    def __init__(self, cell: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = cell(3, UNITS, batch_first=True)
        self.answer = nn.Linear(UNITS, 2)

    def forward(self, x: Any) -> Any:
        return self.answer(self.layer(x)[0])


def test_every_recurrent_operator_is_looked_into() -> None:
    assert set(CELLS) == set(RECURRENT)


@pytest.mark.parametrize(
    ("cell", "part"), [(nn.RNN, "pre_activation"), (nn.GRU, "gates"), (nn.LSTM, "gates"), (nn.LSTM, "cell")]
)
@pytest.mark.parametrize("step", [0, STEPS // 2, STEPS - 1])
def test_one_loud_step_widens_the_range_wherever_it_stands(
    cell: type[nn.Module], part: str, step: int, tmp_path: Path
) -> None:
    """A range of the first or of the last step alone would miss the others."""
    quiet = np.random.default_rng(0).normal(size=(4, STEPS, 3)).astype(np.float32) / 8
    loud = quiet.copy()
    loud[1, step] *= 80
    reach = []
    for name, x in (("quiet", quiet), ("loud", loud)):
        report = qdeploy.export_model(Network(cell), tmp_path / name, calibration=x).inspect()
        (layer,) = [layer for layer in report.layers if layer.name == "layer"]
        assert (layer.extra["calibrated_steps"], layer.extra["calibrated_samples"]) == (STEPS, 4)
        ranges = layer.extra["calibrated_ranges"]
        low, high = ranges[part]
        reach.append(max(-low, high))
        assert any(
            line.startswith(f"layer: calibrated over {STEPS} steps of 4 samples: state ") for line in report.lines()
        )
    assert reach[1] > 1.5 * reach[0]


@pytest.mark.parametrize("cell", [nn.RNN, nn.GRU, nn.LSTM])
def test_the_recorded_states_are_those_of_the_float_network(cell: type[nn.Module], tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(5, STEPS, 3)).astype(np.float32)
    network = Network(cell).eval()
    bundle = qdeploy.export_model(network, tmp_path / "bundle", calibration=x)
    with torch.no_grad():
        states = network.layer(torch.from_numpy(x))[0].numpy()
    (layer,) = [layer for layer in bundle.inspect().layers if layer.name == "layer"]
    assert layer.extra["calibrated_ranges"]["state"] == pytest.approx([states.min(), states.max()], abs=1e-5)
