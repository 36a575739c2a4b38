"""Steps of an orthogonal matrix that leave it orthogonal, in closed form for changes of low rank.

Source: Kiani, Balestriero, LeCun, Lloyd, "projUNN: efficient method for training deep networks with unitary matrices",
arXiv 2203.05483, algorithms 1 (projUNN-D) and 2 (projUNN-T). ``W`` is [H, H] and orthogonal, its change is ``a b^T``
with ``a`` and ``b`` [H, r]. Everything that is not orthogonal about ``W + a b^T`` happens in the span of ``b`` and
``W^T a``, so that one matrix of 2r x 2r is decomposed in place of one of H x H: a step costs O(r H^2).

The small matrices are computed in float64, for they decide by how much ``W`` leaves the manifold.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exponential_step", "low_rank", "nearer_orthogonal", "polar_step"]

# From the largest column alone, the error of rank 1 of the digits' recurrent gradients is one to three per cent above that
# of the singular value decomposition; with two passes 1e-5 at most.
PASSES = 2

# Where a step would make the matrix singular, its polar factor is not unique; this keeps it finite.
SMALLEST_SQUARED = 1e-8


def low_rank(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """``a`` and ``b`` [H, r], float64, with ``a b^T`` near the best approximation of rank r of ``change`` [H, H].

    Block power iteration from the r columns of largest norm. The paper's two ways, column sampling and a random
    projection (LSI), are a single pass of it from random columns; this one is closer, and has no random state, so that
    trainings that are resumed, or run in several processes, take the same steps. ``a`` has orthonormal columns.
    """
    wide = change.double()
    columns = wide.square().sum(dim=0).topk(rank).indices
    basis, _ = torch.linalg.qr(wide[:, columns])
    for _ in range(PASSES):
        right, _ = torch.linalg.qr(wide.t() @ basis)
        basis, _ = torch.linalg.qr(wide @ right)
    return basis, wide.t() @ basis


def polar_step(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """projUNN-D: the orthogonal matrix nearest to ``W + a b^T``, its polar factor ``X (X^T X)^(-1/2)``.

    ``X^T X = I + S`` where ``S = b â^T + â b^T + b (a^T a) b^T``, ``â = W^T a``, lives in the span of ``b`` and ``â``:
    with an orthonormal basis ``Q`` of it and ``Q^T S Q = D diag(s) D^T`` the factor is
    ``X + X (Q D) diag((1 + s)^(-1/2) - 1) (Q D)^T``.

    Args:
        weight: [H, H], orthogonal.
        a: [H, r], float64.
        b: [H, r], float64.

    Returns:
        A new matrix of the type of ``weight``.
    """
    wide = weight.double()
    a_turned = wide.t() @ a
    basis, _ = torch.linalg.qr(torch.cat((b, a_turned), dim=1))
    in_a, in_b = basis.t() @ a_turned, basis.t() @ b
    small = in_b @ in_a.t() + in_a @ in_b.t() + in_b @ (a.t() @ a) @ in_b.t()
    values, vectors = torch.linalg.eigh(small)
    factors = (1.0 + values).clamp_min(SMALLEST_SQUARED).rsqrt() - 1.0
    directions = basis @ vectors
    moved = wide + a @ b.t()
    projected: Tensor = moved + ((moved @ directions) * factors) @ directions.t()
    return projected.to(weight.dtype)


def exponential_step(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """projUNN-T: ``W exp(K)``, ``K = (W^T a b^T - b a^T W) / 2``, along the geodesic of the tangent part of ``a b^T``.

    ``K`` is skew-symmetric and lives in the span of ``b`` and ``W^T a``: with an orthonormal basis ``Q`` of it,
    ``exp(K) = I + Q (exp(Q^T K Q) - I) Q^T``. The small exponential comes from the eigenvalues of the Hermitian
    ``i Q^T K Q``, which makes it orthogonal to the last bits, where a Taylor series is not.

    Args:
        weight: [H, H], orthogonal.
        a: [H, r], float64.
        b: [H, r], float64.

    Returns:
        A new matrix of the type of ``weight``.
    """
    wide = weight.double()
    a_turned = wide.t() @ a
    basis, _ = torch.linalg.qr(torch.cat((b, a_turned), dim=1))
    in_a, in_b = basis.t() @ a_turned, basis.t() @ b
    product = 0.5 * in_a @ in_b.t()
    angles, vectors = torch.linalg.eigh(1j * (product - product.t()))
    turned: Tensor = ((vectors * (torch.exp(-1j * angles) - 1.0)) @ vectors.mH).real
    moved: Tensor = wide + (wide @ basis) @ turned @ basis.t()
    return moved.to(weight.dtype)


def nearer_orthogonal(weight: Tensor) -> Tensor:
    """``W (3 I - W^T W) / 2``, a step of Newton and Schulz: an error ``W^T W - I`` of e becomes one of about 3/4 e^2."""
    wide = weight.double()
    identity = torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
    return (0.5 * wide @ (3.0 * identity - wide.t() @ wide)).to(weight.dtype)
