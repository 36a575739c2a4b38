"""An orthogonal weight on the q_k grid, rounded so that its eigenvalues stay where they are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qdeploy.quantize.shaped_rounding import best_step, shaped_rounding

__all__ = ["shaped_to_grid"]


def shaped_to_grid(weight: Tensor, bits: int) -> Tensor:
    """A latent weight [H, H], float32, which the quantizer q_k takes to the integers of ``shaped_rounding``.

    The grid's range alpha is that of least squared error (``best_step``); entries beyond it stand at -alpha, a level, or at
    +alpha, which q_k takes to the level below and reads alpha off. All others stand on their levels.

    Args:
        weight: orthogonal ``W`` [H, H].
        bits: k, 2 to 8.

    Raises:
        InvalidInputError: the weight is not orthogonal.
    """
    matrix = weight.detach().double().numpy()
    levels = 1 << (bits - 1)
    step = best_step(matrix, -levels, levels - 1)
    beyond = abs(matrix) >= step * levels
    integers, _ = shaped_rounding(matrix, step, -levels, levels - 1, pinned=beyond)
    values = integers * step
    values[beyond] = np.copysign(step * levels, matrix[beyond])
    return torch.from_numpy(values).float()
