"""Layers of channels-first tensors for libraries whose channels are the last axis."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["ChannelsLast", "channels_first", "channels_last"]


def channels_first(inputs: Tensor) -> Tensor:
    """``inputs`` [B, *S, C] as [B, C, *S]."""
    rank = inputs.dim()
    return inputs.permute(0, rank - 1, *range(1, rank - 1))


def channels_last(inputs: Tensor) -> Tensor:
    """``inputs`` [B, C, *S] as [B, *S, C]."""
    return inputs.permute(0, *range(2, inputs.dim()), 1)


class ChannelsLast(nn.Module):
    """``layer``, which takes and gives [B, C, *S], between transpositions: from [B, *S, C] to [B, *S, C]."""

    def __init__(self, layer: nn.Module) -> None:
        """Takes the layer."""
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [B, *S, C]."""
        return channels_last(self.layer(channels_first(inputs)))
