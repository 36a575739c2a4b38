"""ResNet-18 and its narrower kin for small images, real and quaternion.

Source: He et al., "Deep residual learning for image recognition", CVPR 2016, with the 3 x 3 stem without a pool that small
images need; Gaudet and Maida, "Deep quaternion networks", arXiv 1712.04604 (quaternion layers and normalization).
"""

from __future__ import annotations

from torch import Tensor, nn

from .image_layers import PooledClassifier, batch_norm2d, conv2d

__all__ = ["ResNet"]


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the size changes."""

    def __init__(self, kind: str, before: int, after: int, stride: int, batch_norm: str) -> None:
        super().__init__()
        self.conv1 = conv2d(kind, before, after, 3, stride=stride, padding=1, bias=False)
        self.norm1 = batch_norm2d(kind, after, batch_norm)
        self.conv2 = conv2d(kind, after, after, 3, padding=1, bias=False)
        self.norm2 = batch_norm2d(kind, after, batch_norm)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(
                conv2d(kind, before, after, 1, stride=stride, bias=False), batch_norm2d(kind, after, batch_norm)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, before, H, W] to [B, after, H / stride, W / stride]."""
        inner = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(inputs)))))
        outputs: Tensor = self.relu(inner + self.shortcut(inputs))
        return outputs


class ResNet(PooledClassifier):
    """Four stages of ``blocks`` residual blocks of ``width``, 2, 4 and 8 times ``width`` channels, then a global average.

    With ``blocks=2`` and ``width=64`` it is ResNet-18. The last layer is real; with ``kind="quaternion"`` all others are
    quaternion ones, normalized in the form ``batch_norm`` (see ``image_layers.BATCH_NORMS``).
    """

    def __init__(
        self,
        in_channels: int = 4,
        num_classes: int = 10,
        kind: str = "quaternion",
        width: int = 64,
        blocks: int = 2,
        batch_norm: str = "quaternion",
    ) -> None:
        """Builds the network with weights drawn from torch's global generator."""
        layers: list[nn.Module] = []
        before = width
        for stage in range(4):
            after = width << stage
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(_Block(kind, before, after, stride, batch_norm))
                before = after
        super().__init__(kind, batch_norm, in_channels, width, nn.Sequential(*layers), before, num_classes)
