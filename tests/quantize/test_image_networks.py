"""Whole networks of images, from torch and from the files that torch writes of them, proven bit for bit."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip
from torch.nn import functional  # noqa: E402  # after the skip

import qdeploy  # noqa: E402  # after the skip
from qdeploy.models import QuaternionBatchNorm, QuaternionConv2d, QuaternionDropout2d  # noqa: E402  # after the skip

SIZE = 12


class Residual(nn.Module):
    """A stem with a pool, a block with an identity and one with a projection, rectified and not, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.MaxPool2d(3, 2, 1), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.strided = nn.Conv2d(8, 12, 3, 2, 1)
        self.projection = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(8, 12, 1))
        self.output = nn.Linear(12, 5)

    def forward(self, x: Any) -> Any:
        h = self.stem(x)
        h = torch.relu(self.inner(h) + h)
        h = self.strided(h) + self.projection(h)
        return self.output(functional.silu(h).mean((2, 3)))


class Mobile(nn.Module):
    """Inverted residuals: expansion, a depthwise convolution and a projection, with ReLU6 and Hardswish, and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(4, 12, 1), nn.BatchNorm2d(12), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.BatchNorm2d(12), nn.Hardswish())
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 12, 1), nn.Hardsigmoid())
        self.project = nn.Conv2d(12, 4, 1)
        self.head = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 8, 3, 2), nn.LeakyReLU(0.1), nn.AdaptiveMaxPool2d(1)
        )
        self.output = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        h = self.depthwise(self.expand(x))
        h = self.project(h * self.squeeze(h)) + x
        return self.output(self.head(h).flatten(1))


class Quaternions(nn.Module):
    """Branches that are concatenated with their quaternions blocked, normalization and dropout of whole quaternions."""

    def __init__(self) -> None:
        super().__init__()
        self.one = QuaternionConv2d(4, 8, 3, padding=1)
        self.norm = QuaternionBatchNorm(8)
        self.other = QuaternionConv2d(4, 8, 1)
        self.dropout = QuaternionDropout2d(0.5)
        self.both = QuaternionConv2d(16, 8, 3, 2, 1, groups=2)
        self.output = nn.Linear(8 * 9, 5)

    def forward(self, x: Any) -> Any:
        a, b = torch.relu(self.norm(self.one(x))), functional.max_pool2d(torch.relu(self.other(x)), 3, 1, 1)
        h = torch.cat([part for pair in zip(a.chunk(4, 1), b.chunk(4, 1), strict=True) for part in pair], 1)
        h = functional.gelu(self.both(self.dropout(h)))
        return self.output(functional.avg_pool2d(h, 2).flatten(1))


def trained(kind: type[nn.Module], x: np.ndarray[Any, Any]) -> nn.Module:
    """With statistics of the images, as training leaves them."""
    torch.manual_seed(3)
    module = kind().train()
    with torch.no_grad():
        for _ in range(20):
            module(torch.from_numpy(x))
    return module.eval()


@pytest.mark.parametrize("kind", [Mobile, Quaternions])
def test_from_torch_and_from_its_file(kind: type[nn.Module], tmp_path: Path) -> None:
    x = (np.random.default_rng(0).integers(0, 256, (40, 4, SIZE, SIZE)) / 256).astype(np.float32)
    module = trained(kind, x)
    with torch.no_grad():
        real = module(torch.from_numpy(x)).numpy()
    with warnings.catch_warnings():
        # torch deprecates what its own exporter calls.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.from_numpy(x[:2]),), str(tmp_path / "float.onnx"), input_names=["x"], opset_version=18,
            dynamic_shapes=({0: torch.export.Dim("batch")},), dynamo=True, verbose=False, external_data=False,
        )  # fmt: skip
    for name, source in (("torch", module), ("file", tmp_path / "float.onnx")):
        bundle = qdeploy.export_model(source, tmp_path / name, calibration={"x": x})
        assert bundle.verify(samples=3).passed
        (integer,) = bundle.run(x).values()
        # 8-bit weights and activations over a handful of layers.
        assert np.abs(integer - real).max() < 0.06 * np.abs(real).max(), name
        assert {"Requantize", "Relu", "Clip", "ChannelAffine", "onnx.Transpose"}.isdisjoint(bundle.inspect().operators)
        assert bundle.inspect().activation_bytes is not None


def test_validate_on_images(tmp_path: Path) -> None:
    """Accuracy on a file of images, float beside integer."""
    rng = np.random.default_rng(1)
    x = (rng.integers(0, 256, (60, 4, SIZE, SIZE)) / 256).astype(np.float32)
    module = trained(Residual, x)
    with torch.no_grad():
        labels = module(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(tmp_path / "images.npz", x=x, y=labels)
    bundle = qdeploy.export_model(module, tmp_path / "bundle", calibration=x, evaluation=tmp_path / "images.npz")
    assert bundle.verify(samples=3).passed
    report = bundle.validate(tmp_path / "images.npz")
    assert report.samples == 60
    assert report.float_value == 1.0
    assert report.integer_value is not None
    assert report.integer_value >= 0.9
