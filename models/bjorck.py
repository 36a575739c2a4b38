"""The nearest orthogonal matrix, by spectral normalization and Björck's iteration, differentiable.

Sources: Björck and Bowie, "An iterative algorithm for computing the best estimate of an orthogonal matrix", 1971;
Anil, Lucas, Grosse, "Sorting out Lipschitz function approximation", 2019; arXiv 2402.04012, section 3 (STE-Björck).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bjorck_orthogonalize", "spectral_norm"]

BETA = 0.5
MAX_ITERATIONS = 15
TOLERANCE = 1e-3
POWER_ITERATIONS = 12


def spectral_norm(weight: Tensor) -> Tensor:
    """An estimate from below of the largest singular value of ``weight`` [M, N], by power iteration; zero-dimensional.

    The singular vectors are constants of the gradient, as usual for spectral normalization. The iteration starts from
    the row of largest norm, so that equal weights always give equal results: no random state is involved.
    """
    with torch.no_grad():
        right = weight[weight.square().sum(dim=1).argmax()]
        right = right / right.norm().clamp_min(torch.finfo(weight.dtype).tiny)
        left = weight @ right
        for _ in range(POWER_ITERATIONS):
            left = left / left.norm().clamp_min(torch.finfo(weight.dtype).tiny)
            right = weight.t() @ left
            right = right / right.norm().clamp_min(torch.finfo(weight.dtype).tiny)
            left = weight @ right
        left = left / left.norm().clamp_min(torch.finfo(weight.dtype).tiny)
    return torch.dot(left, weight @ right)


def bjorck_orthogonalize(
    weight: Tensor,
    *,
    beta: float = BETA,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Tensor:
    """``W <- (1 + beta) W - beta W W^T W`` on ``weight`` [N, N] divided by its spectral norm.

    Converges to the polar factor of ``weight`` where the singular values lie in (0, sqrt(3)) after the division, which
    leaves room for the power iteration's estimate being low. Stops when an iteration moves ``W`` by less than
    ``tolerance`` in Frobenius norm, or after ``max_iterations``.
    """
    orthogonal = weight / spectral_norm(weight)
    for _ in range(max_iterations):
        previous = orthogonal
        orthogonal = (1.0 + beta) * previous - beta * (previous @ (previous.t() @ previous))
        with torch.no_grad():
            if torch.linalg.matrix_norm(orthogonal - previous) < tolerance:
                break
    return orthogonal
