"""An orthogonal weight on the q_k grid, rounded so that its eigenvalues stay where they are."""

from __future__ import annotations

import torch
from torch import Tensor

from qdeploy.quantize.shaped_rounding import shaped_rounding

__all__ = ["shaped_to_grid"]


def shaped_to_grid(weight: Tensor, bits: int) -> Tensor:
    """A latent weight [H, H], float32, which the quantizer q_k takes to the integers of ``shaped_rounding``.

    The grid's range is read off the largest entry, which therefore stays where it is: at -alpha, a level, or at +alpha,
    which q_k takes to the level below. All others stand on their levels.

    Args:
        weight: orthogonal ``W`` [H, H].
        bits: k, 2 to 8.

    Raises:
        InvalidInputError: the weight is not orthogonal.
    """
    matrix = weight.detach().double().numpy()
    levels = 1 << (bits - 1)
    largest = abs(matrix) == abs(matrix).max()
    step = float(abs(matrix).max()) / levels
    integers, _ = shaped_rounding(matrix, step, -levels, levels - 1, pinned=largest)
    values = integers * step
    values[largest] = matrix[largest]
    return torch.from_numpy(values).float()
