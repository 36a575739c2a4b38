"""The layers of image classifiers in their two kinds, real and quaternion, under one name each."""

from __future__ import annotations

from torch import Tensor, nn

from .quaternion_batch_norm import QuaternionBatchNorm, QuaternionSplitBatchNorm, QuaternionWhiteningBatchNorm
from .quaternion_conv import QuaternionConv2d
from .quaternion_linear import QuaternionLinear

__all__ = ["BATCH_NORMS", "KINDS", "PooledClassifier", "batch_norm2d", "conv2d", "linear"]

KINDS = ("real", "quaternion")

BATCH_NORMS = ("split", "quaternion", "whitening")
"""Of quaternion networks: component by component, one variance per quaternion, 4 x 4 whitening. Real ones have ``split``."""


def conv2d(
    kind: str,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: int = 0,
    depthwise: bool = False,
    bias: bool = True,
) -> nn.Module:
    """A convolution; ``depthwise`` ones convolve every channel, or every quaternion, alone."""
    if kind == "real":
        groups = in_channels if depthwise else 1
        return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)
    groups = in_channels // 4 if depthwise else 1
    return QuaternionConv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)


def linear(kind: str, in_features: int, out_features: int) -> nn.Module:
    """A fully connected layer."""
    return nn.Linear(in_features, out_features) if kind == "real" else QuaternionLinear(in_features, out_features)


def batch_norm2d(kind: str, channels: int, form: str) -> nn.Module:
    """Batch normalization over the channels of [B, C, H, W]; ``form`` is one of ``BATCH_NORMS``."""
    if kind == "real":
        return nn.BatchNorm2d(channels)
    forms = {
        "split": QuaternionSplitBatchNorm,
        "quaternion": QuaternionBatchNorm,
        "whitening": QuaternionWhiteningBatchNorm,
    }
    return forms[form](channels)


class PooledClassifier(nn.Module):
    """A 3 x 3 stem, stages, the global average, and a real layer: what residual and separable networks have in common."""

    def __init__(
        self,
        kind: str,
        batch_norm: str,
        in_channels: int,
        width: int,
        stages: nn.Sequential,
        channels: int,
        classes: int,
    ) -> None:
        """Builds the stem of ``width`` channels and the last layer, around ``stages`` that end in ``channels``."""
        super().__init__()
        self.stem = nn.Sequential(
            conv2d(kind, in_channels, width, 3, padding=1, bias=False), batch_norm2d(kind, width, batch_norm), nn.ReLU()
        )
        self.stages = stages
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(channels, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of ``inputs`` [B, in_channels, H, W]."""
        logits: Tensor = self.output(self.flatten(self.pool(self.stages(self.stem(inputs)))))
        return logits
