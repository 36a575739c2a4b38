"""MobileNet for small images, real and quaternion.

Source: Howard et al., "MobileNets", arXiv 1704.04861, with a stem of stride 1. In the quaternion network a depthwise
convolution convolves every quaternion alone: four channels mix, as the Hamilton product has it.
"""

from __future__ import annotations

from torch import nn

from .image_layers import PooledClassifier, batch_norm2d, conv2d

__all__ = ["MobileNet"]

# Channels, as multiples of the stem's, and stride of every separable convolution.
_BLOCKS = (
    (2, 1),
    (4, 2),
    (4, 1),
    (8, 2),
    (8, 1),
    (16, 2),
    *[(16, 1)] * 5,
    (32, 2),
    (32, 1),
)


def _separable(kind: str, before: int, after: int, stride: int, batch_norm: str) -> nn.Sequential:
    return nn.Sequential(
        conv2d(kind, before, before, 3, stride=stride, padding=1, depthwise=True, bias=False),
        batch_norm2d(kind, before, batch_norm),
        nn.ReLU(),
        conv2d(kind, before, after, 1, bias=False),
        batch_norm2d(kind, after, batch_norm),
        nn.ReLU(),
    )


class MobileNet(PooledClassifier):
    """A stem of ``width`` channels, thirteen depthwise separable convolutions up to 32 times ``width``, a global average.

    ``width=32`` is the published network. The last layer is real; with ``kind="quaternion"`` all others are quaternion
    ones, normalized in the form ``batch_norm`` (see ``image_layers.BATCH_NORMS``).
    """

    def __init__(
        self,
        in_channels: int = 4,
        num_classes: int = 10,
        kind: str = "quaternion",
        width: int = 32,
        batch_norm: str = "quaternion",
    ) -> None:
        """Builds the network with weights drawn from torch's global generator."""
        layers: list[nn.Module] = []
        before = width
        for factor, stride in _BLOCKS:
            layers.append(_separable(kind, before, factor * width, stride, batch_norm))
            before = factor * width
        super().__init__(kind, batch_norm, in_channels, width, nn.Sequential(*layers), before, num_classes)
