"""Trained statistics against torch's float: channels of variance 1e-6 beside 1e3, dead ones, in every form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip

import qdeploy  # noqa: E402  # as above
from qdeploy.models import (  # noqa: E402  # as above
    QuaternionBatchNorm,
    QuaternionLinear,
    QuaternionSplitBatchNorm,
    QuaternionWhiteningBatchNorm,
)

DEVIATIONS = (1e-3, 30.0, 1.0, 0.0)
"""Of the four quaternions of the layer; the last is dead."""


def samples() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(128, 16)).astype(np.float32)


def trained(layer: nn.Module, norm: nn.Module) -> nn.Sequential:
    """The layer's rows scaled, statistics of what it gives, factors of both signs."""
    torch.manual_seed(0)
    rows = torch.tensor(DEVIATIONS)
    with torch.no_grad():
        if isinstance(layer, QuaternionLinear):
            for component in layer.components():
                component.mul_(rows[:, None])
        else:
            layer.weight.mul_(rows.repeat(4)[:, None])
        layer.bias.normal_()
        network = nn.Sequential(layer, norm)
        norm.momentum = None
        for _ in range(3):
            network(torch.from_numpy(samples()))
        for parameter in norm.parameters():
            parameter.mul_(torch.where(torch.rand(parameter.shape) < 0.5, -1.0, 1.0))
        (norm.bias if hasattr(norm, "bias") else norm.beta).normal_()
    return network.eval()


@pytest.mark.parametrize(
    ("layer", "norm", "mode"),
    [
        (nn.Linear, nn.BatchNorm1d, None),
        (nn.Linear, nn.BatchNorm1d, "stage"),
        (QuaternionLinear, QuaternionSplitBatchNorm, None),
        (QuaternionLinear, QuaternionSplitBatchNorm, "fold"),
        (QuaternionLinear, QuaternionBatchNorm, None),
        (QuaternionLinear, QuaternionWhiteningBatchNorm, "stage"),
        (QuaternionLinear, QuaternionWhiteningBatchNorm, "fold"),
    ],
)
def test_against_torch(tmp_path: Path, layer: type, norm: type, mode: str | None) -> None:
    network = trained(layer(16, 16), norm(16))
    variances = network[0](torch.from_numpy(samples())).var(dim=0).detach()
    assert variances[:4].min() == 0
    assert 1e-7 < variances[0] < 1e-5
    assert variances[1] > 1e2
    bundle = qdeploy.export_model(network, tmp_path / "bundle", calibration=samples(), batch_norm=mode)
    assert bundle.verify(samples=4).passed
    (found,) = bundle.run(samples()).values()
    with torch.no_grad():
        expected = network(torch.from_numpy(samples())).numpy()
    error = np.abs(found - expected)
    # Every living channel has a deviation of about one half or one; weights and inputs have 8 bits.
    assert error.max() < 0.08
    dead = [part * 4 + 3 for part in range(4)]
    assert np.ptp(expected[:, dead], axis=0).max() < 1e-6
    assert np.ptp(found[:, dead], axis=0).max() < 5e-3
    # A dead quaternion's constant is large beside 1/sqrt(eps), and a step of the sixteen bits before a matrix with it.
    assert error[:, dead].max() < 5e-3
