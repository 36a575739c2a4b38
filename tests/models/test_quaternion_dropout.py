"""Quaternions are dropped whole, and nothing is dropped in evaluation."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from qdeploy.capture import capture  # noqa: E402  # after the skip
from qdeploy.models import QuaternionConv2d, QuaternionDropout, QuaternionDropout2d  # noqa: E402  # after the skip


@pytest.mark.parametrize(
    ("layer", "shape"), [(QuaternionDropout(0.3), (8, 80, 5)), (QuaternionDropout(0.3, -1), (50, 80))]
)
def test_components_of_a_quaternion_are_dropped_together(layer, shape):
    torch.manual_seed(0)
    y = layer.train()(torch.ones(shape))
    parts = torch.stack(y.chunk(4, layer.dim))
    assert (parts == parts[0]).all()
    values, counts = parts[0].unique(return_counts=True)
    assert torch.allclose(values, torch.tensor([0.0, 1 / 0.7]))
    # Three standard deviations of so many draws.
    assert abs(counts[0].item() / parts[0].numel() - 0.3) < 3 * (0.21 / parts[0].numel()) ** 0.5


def test_maps_are_dropped_whole():
    torch.manual_seed(0)
    y = QuaternionDropout2d(0.5).train()(torch.ones(6, 40, 3, 4))
    parts = y.reshape(6, 4, 10, 12)
    assert (parts == parts[:, :1, :, :1]).all()
    assert 0 < int((parts[:, 0, :, 0] == 0).sum()) < 60


def test_evaluation_and_export_drop_nothing():
    x = torch.randn(3, 8, 4, 4)
    assert QuaternionDropout(0.9).eval()(x) is x
    model = torch.nn.Sequential(QuaternionConv2d(4, 8, 1), QuaternionDropout2d(0.5), torch.nn.ReLU())
    captured = capture(model, {"x": np.random.default_rng(0).normal(size=(4, 4, 3, 3)).astype(np.float32)})
    assert [node.op_type for node in captured.model.graph.node] == ["HamiltonMatrix", "Conv", "Relu"]
    assert captured.notes == ("dropout removed: 1",)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_probabilities_are_checked(p):
    with pytest.raises(ValueError, match="probability"):
        QuaternionDropout(p)


def test_channels_that_are_no_quaternions_are_refused():
    with pytest.raises(ValueError, match="four components"):
        QuaternionDropout().train()(torch.ones(2, 6))
