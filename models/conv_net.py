"""Conv-2, Conv-4 and Conv-6, real and quaternion.

Source: Frankle and Carbin, "The lottery ticket hypothesis", ICLR 2019 (the real networks); Iqbal and Mishra, "Neural
networks at a fraction with pruned quaternions", 2023 (the quaternion ones: split ReLU, last layer real).
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .image_layers import conv2d, linear

__all__ = ["DEPTHS", "ConvNet"]

DEPTHS = (2, 4, 6)


class ConvNet(nn.Module):
    """``depth`` 3 x 3 convolutions in pairs of 64, 128 and 256 channels, a max-pool behind each pair, then 256, 256, classes.

    Inputs are [B, in_channels, image_size, image_size]. With ``kind="quaternion"`` all layers but the last are quaternion
    ones, and (R, G, B, gray) is the input's quaternion; ``kind="real"`` on RGB and on RGB + gray are its twins Real3 and
    Real4.
    """

    def __init__(
        self,
        depth: int = 2,
        in_channels: int = 4,
        image_size: int = 32,
        num_classes: int = 10,
        kind: str = "quaternion",
        width: int = 64,
    ) -> None:
        """Builds the network with weights drawn from torch's global generator.

        Raises:
            InvalidInputError: a depth that is none of ``DEPTHS``, an image that the pools bring to nothing.
        """
        super().__init__()
        if depth not in DEPTHS:
            raise InvalidInputError(f"depth={depth}: expected one of {', '.join(map(str, DEPTHS))}")
        side = image_size >> (depth // 2)
        if side < 1:
            raise InvalidInputError(
                f"image_size={image_size}: {depth // 2} max-pools leave nothing of it; expected at least {1 << depth // 2}"
            )
        layers: list[nn.Module] = []
        channels = [in_channels, *(width << (index // 2) for index in range(depth))]
        for index, (before, after) in enumerate(itertools.pairwise(channels)):
            layers += [conv2d(kind, before, after, 3, padding=1), nn.ReLU()]
            if index % 2:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        hidden = 4 * width
        self.classifier = nn.Sequential(
            nn.Flatten(),
            linear(kind, channels[-1] * side * side, hidden),
            nn.ReLU(),
            linear(kind, hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of ``inputs`` [B, in_channels, image_size, image_size]."""
        logits: Tensor = self.classifier(self.features(inputs))
        return logits
