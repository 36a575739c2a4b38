"""MobileNet for small images, real and quaternion.

Source: Howard et al., "MobileNets", arXiv 1704.04861, with a stem of stride 1. In the quaternion network a depthwise
convolution convolves every quaternion alone: four channels mix, as the Hamilton product has it.
"""

from __future__ import annotations

from torch import Tensor, nn

from .image_layers import batch_norm2d, conv2d

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


class MobileNet(nn.Module):
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
        super().__init__()
        self.stem = nn.Sequential(
            conv2d(kind, in_channels, width, 3, padding=1, bias=False), batch_norm2d(kind, width, batch_norm), nn.ReLU()
        )
        layers: list[nn.Module] = []
        before = width
        for factor, stride in _BLOCKS:
            layers.append(_separable(kind, before, factor * width, stride, batch_norm))
            before = factor * width
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.output = nn.Linear(before, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of ``inputs`` [B, in_channels, H, W]."""
        logits: Tensor = self.output(self.flatten(self.pool(self.blocks(self.stem(inputs)))))
        return logits
