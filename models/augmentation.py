"""Random variants of images, drawn anew for every batch of a training."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["flipped_and_shifted"]


def flipped_and_shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """``images`` [B, C, H, W], each mirrored left to right or not, and moved by up to an eighth of its side, zeros coming in.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.
    """
    batch, _, height, width = images.shape
    reach = max(1, height // 8)
    padded = torch.nn.functional.pad(images, [reach] * 4)
    rows = torch.randint(0, 2 * reach + 1, (batch, 1), generator=generator) + torch.arange(height)
    columns = torch.randint(0, 2 * reach + 1, (batch, 1), generator=generator) + torch.arange(width)
    mirrored = torch.rand(batch, generator=generator) < 0.5
    columns[mirrored] = columns[mirrored].flip(1)
    index = torch.arange(batch)[:, None, None]
    # Advanced indices around a slice put the channels last.
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
