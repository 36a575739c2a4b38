"""Dropout of whole quaternions: the four components of a quaternion are kept or zeroed together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["QuaternionDropout", "QuaternionDropout2d"]


class QuaternionDropout(nn.Module):
    """Zeroes each quaternion with probability ``p`` in training, and scales the others by 1 / (1 - p).

    Channels are blocked, [r...|i...|j...|k...]; what stays keeps its direction, which a dropout of components would turn.
    In evaluation, and in what is exported, it is the identity.

    Source: torch.nn.Dropout (Srivastava et al., JMLR 15, 2014), with one draw a quaternion.
    """

    def __init__(self, p: float = 0.5, dim: int = 1) -> None:
        """A dropout of the quaternions along ``dim``, the channels: 1 for images, -1 for features at the end.

        Raises:
            ValueError: p outside [0, 1).
        """
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p={p}; expected a probability of at least 0 and less than 1")
        self.p = p
        self.dim = dim

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., 4 n, ...] to the same shape."""
        if not self.training or self.p == 0:
            return inputs
        shape = list(inputs.shape)
        if shape[self.dim] % 4:
            raise ValueError(
                f"found {shape[self.dim]} channels along axis {self.dim}, expected four components for each quaternion"
            )
        shape[self.dim] //= 4
        kept = self._draw(inputs, shape)
        return inputs * torch.cat([kept] * 4, self.dim)

    def _draw(self, inputs: Tensor, shape: list[int]) -> Tensor:
        """Zeros and 1 / (1 - p), of ``shape`` or of one that spreads to it."""
        return nn.functional.dropout(inputs.new_ones(shape), self.p)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"p={self.p}, dim={self.dim}"


class QuaternionDropout2d(QuaternionDropout):
    """Zeroes whole quaternion feature maps [B, 4 n, ...]: one draw for all places of a quaternion's four maps."""

    def __init__(self, p: float = 0.5) -> None:
        """The channels are the second axis."""
        super().__init__(p, 1)

    def _draw(self, inputs: Tensor, shape: list[int]) -> Tensor:
        return nn.functional.dropout(inputs.new_ones([*shape[:2], *[1] * (len(shape) - 2)]), self.p)
