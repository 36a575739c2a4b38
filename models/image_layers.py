"""The layers of image classifiers in their two kinds, real and quaternion, under one name each."""

from __future__ import annotations

from torch import nn

from .quaternion_batch_norm import QuaternionBatchNorm, QuaternionSplitBatchNorm, QuaternionWhiteningBatchNorm
from .quaternion_conv import QuaternionConv2d
from .quaternion_linear import QuaternionLinear

__all__ = ["BATCH_NORMS", "KINDS", "batch_norm2d", "conv2d", "linear"]

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
