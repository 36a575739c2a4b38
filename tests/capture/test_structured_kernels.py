"""Kernels over an algebra: of the package's layers, and of modules that make them themselves."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from qdeploy import export_model  # noqa: E402
from qdeploy.capture import capture  # noqa: E402
from qdeploy.models import PHMConv1d, PHMConv2d, QuaternionRotationConv1d, QuaternionRotationConv2d  # noqa: E402


class RightProducts(nn.Module):
    """x (x) w at every tap."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 3, 2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        r, i, j, k = self.w.unbind()
        rows = [[r, -i, -j, -k], [i, r, k, -j], [j, -k, r, i], [k, j, -i, r]]
        return nn.functional.conv2d(x, torch.cat([torch.cat(row, 1) for row in rows]), padding=1)


class LearnedKernels(nn.Module):
    """Kronecker products of an algebra and kernels, as published code makes them."""

    def __init__(self):
        super().__init__()
        self.rule = nn.Parameter(torch.randn(2, 2, 2))
        self.kernels = nn.Parameter(torch.randn(2, 6, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        products = self.rule[:, :, None, :, None, None, None] * self.kernels[:, None, :, None]
        return nn.functional.conv2d(x, products.reshape(2, 12, 8, 3, 3).sum(0), padding=1)


class Sum(nn.Module):
    """Convolutions of one input, added: tracing takes longer than all the rest."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(layer(x) for layer in self.layers)


def matrices(captured):
    """For every convolution its kernel's operator, and how many numbers that reads."""
    graph = captured.model.graph
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    made = [producers[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    return [(one.op_type, sum(sizes[name] for name in one.input)) for one in made]


def test_kernels_come_back(rng, run):
    module = Sum(
        [
            PHMConv2d(2, 8, 12, 3, padding=1),
            QuaternionRotationConv2d(8, 12, 3, padding=1),
            RightProducts(),
            LearnedKernels(),
        ]
    ).eval()
    x = rng.random((2, 8, 5, 6)).astype(np.float32)
    captured = capture(module, {"x": x})
    found = run(captured, {"x": x})
    for name, expected in zip(found, module(torch.from_numpy(x)), strict=True):
        np.testing.assert_allclose(found[name], expected.detach().numpy(), atol=1e-4)
    expected = {8 + 2 * 216, 144 + 9 * 54, 64 + 4 * 54}
    assert {numbers for _, numbers in matrices(captured)} == expected
    assert [operator for operator, _ in matrices(captured)] == ["HypercomplexMatrix"] * 4
    assert sum("9 blocks of 3 x 2" in note for note in captured.notes) == 1
    assert sum("4 blocks of 3 x 2" in note for note in captured.notes) == 1
    assert sum("2 Kronecker products" in note for note in captured.notes) == 1


def test_a_bundle_of_convolutions(rng, tmp_path):
    layers = [PHMConv1d(4, 16, 32, 3, padding=1), nn.ReLU(), QuaternionRotationConv1d(32, 16, 3), nn.Flatten()]
    bundle = export_model(
        nn.Sequential(*layers, nn.Linear(16 * 4, 5)),
        tmp_path / "kernels",
        calibration={"x": rng.random((32, 16, 6)).astype(np.float32)},
    )
    assert bundle.verify().passed
    report = bundle.inspect()
    assert report.operators["HypercomplexMatrix"] == 2
    assert [layer.parameters for layer in report.layers] == [64 + 384, 9 * 96, 320]
    assert any("9 components of an algebra of 4 x 4" in line and "without rounding" in line for line in report.lines())
