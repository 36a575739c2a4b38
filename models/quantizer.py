"""The weight quantizer q_k of quantized orthogonal RNNs, with its straight-through gradient.

Source: Foucault, Mamalet, Malgouyres, "Quantized Approximately Orthogonal Recurrent Neural Networks",
arXiv 2402.04012, section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["MAX_WEIGHT_BITS", "grid_integers", "quantize_weight"]

MAX_WEIGHT_BITS = 8


def grid_integers(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The integers ``n`` and the range ``alpha`` of ``weight`` on the q_k grid.

    ``alpha = max|W|`` over the whole tensor and ``n = clip(round(W * 2^(k-1) / alpha), -2^(k-1), 2^(k-1) - 1)``, halves
    to the even integer. The grid is two's complement and not symmetric: ``+alpha`` saturates to ``2^(k-1) - 1``.
    ``k = 1`` is the exception, clipped to +-1 and so ternary.

    Args:
        weight: float tensor of any shape.
        bits: k, 1 to 8.

    Returns:
        ``n`` (float tensor that holds integers, same shape) and ``alpha`` (float, zero-dimensional). A tensor of zeros
        gives ``alpha = 0`` and ``n = 0``.
    """
    alpha = weight.abs().amax()
    levels = 1 << (bits - 1)
    upper = 1 if bits == 1 else levels - 1
    # A tensor of zeros would divide by zero; any positive divisor keeps its integers at zero.
    divisor = torch.where(alpha > 0, alpha, torch.ones_like(alpha))
    return torch.clamp(torch.round(weight * levels / divisor), -levels, upper), alpha


class _StraightThrough(torch.autograd.Function):
    """q_k forward, identity backward (clipped weights included, as in the paper)."""

    @staticmethod
    def forward(_: Any, weight: Tensor, bits: int) -> Tensor:
        integers, alpha = grid_integers(weight, bits)
        return integers * (alpha / (1 << (bits - 1)))

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def quantize_weight(weight: Tensor, bits: int | None, strength: float = 1.0) -> Tensor:
    """``W_q = alpha * n / 2^(k-1)``; the gradient passes straight through.

    Args:
        weight: float tensor of any shape.
        bits: k, 1 to 8; ``None`` gives ``weight`` back.
        strength: what part of the quantization error is applied, 0 to 1. A training that starts in float raises it
            step by step, because a recurrence of hundreds of steps does not survive the whole change at once.
    """
    if bits is None or strength == 0.0:
        return weight
    quantized: Tensor = _StraightThrough.apply(weight, bits)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    if strength == 1.0:
        return quantized
    return weight + strength * (quantized - weight).detach()
