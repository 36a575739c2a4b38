"""Rounding of an orthogonal recurrent weight to a grid that keeps its long memory.

Rounding to the nearest level changes every entry by up to half a step, an error that is small and white: its part
along each eigenvector moves that eigenvalue off the unit circle by about the error's standard deviation. At 4 bits
and 170 units this is 1 %, and ``1.01^784 = 2,400``: over hundreds of steps some frequencies explode and others vanish.
But a matrix of 170 units has 28,900 roundings to choose, and only 170 eigenvalues. Choosing up or down for each entry
so that the error avoids what matters is noise shaping, as sigma-delta converters do it, in the eigenbasis of the weight:

1. ``_shape``: in the eigenbasis, entry (i, j) of the error turns eigenvector j towards i by ``F_ij / (l_j - l_i)``, and
   the diagonal moves the eigenvalue. Entries are flipped to the other neighbouring level, the most useful ones first,
   as long as ``sum |F_ij|^2 / (|l_i - l_j|^2 + epsilon^2)`` falls: perturbation theory to first order.
2. ``_refine``: what is left, of second order, is removed by single flips that are accepted only where the eigenvalues of
   the rounded matrix itself come nearer to the given ones, in modulus and phase.

The rounded matrix is about as far from orthogonal as the nearest one (``||W W^T - I||`` hardly changes), while its powers
stay bounded: "approximately orthogonal" is what its eigenvalues are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["RoundingReport", "best_step", "is_orthogonal", "nearest_rounding", "shaped_rounding"]

Matrix = NDArray[np.float64]

# Eigenvalues closer than this count as one: what mixes them changes no frequency that a sequence could tell apart.
EPSILON = 0.005
SHAPING_FLIPS = 200
SHAPING_ROUNDS = 400
REFINING_ROUNDS = 400
# Rounds times H^3: a minute or two, whatever the size.
REFINING_WORK = 2e9
CANDIDATES = 40
# Rounds without a gain of a tenth after which the search is over.
PATIENCE = 30
# Square sum of logarithms at which the eigenvalues are as good as exact: 1e-4 each over 170 units.
GOOD = 2e-6
_FORBIDDEN = 1e300


@dataclass(frozen=True)
class RoundingReport:
    """What a rounding did.

    Attributes:
        modulus_error, phase_error: root mean square of ``ln|l|`` and of the angle's change, in radians, over the
            eigenvalues; times the number of steps it is the change at the end of a sequence.
        largest_modulus: of an eigenvalue.
        condition: of the eigenvectors; 1 for a normal matrix.
        deviation: ``||W W^T - I||`` (Frobenius).
        moved: entries that are not at their nearest level.
    """

    modulus_error: float
    phase_error: float
    largest_modulus: float
    condition: float
    deviation: float
    moved: int


class _Grid:
    """The levels and which of them each entry may take."""

    def __init__(self, weight: Matrix, step: float, low: int, high: int, pinned: NDArray[np.bool_]) -> None:
        self.weight, self.step, self.low, self.high, self.pinned = weight, step, low, high, pinned
        self.integers = np.clip(np.rint(weight / step), low, high)
        self.nearest = self.integers.copy()

    @property
    def rounded(self) -> Matrix:
        return np.asarray(self.integers * self.step)

    def costs(self, gradient: Matrix, curvature: Matrix) -> tuple[Matrix, Matrix]:
        """What a flip up and a flip down would change, to second order; far levels are forbidden."""
        error = self.rounded - self.weight
        up = np.where((self.integers < self.high) & (error < 0) & ~self.pinned, gradient + curvature, _FORBIDDEN)
        down = np.where((self.integers > self.low) & (error > 0) & ~self.pinned, curvature - gradient, _FORBIDDEN)
        return up, down


def _shape(grid: _Grid) -> None:
    values, vectors = np.linalg.eig(grid.weight)
    inverse = np.linalg.inv(vectors)
    penalty = 1.0 / (np.abs(values[:, None] - values[None]) ** 2 + EPSILON**2)
    curvature = np.real((np.abs(inverse.T) ** 2) @ penalty @ (np.abs(vectors.T) ** 2)) * grid.step**2
    flips, before, kept = SHAPING_FLIPS, np.inf, grid.integers.copy()
    for _ in range(SHAPING_ROUNDS):
        seen = inverse @ (grid.rounded - grid.weight) @ vectors
        value = float((penalty * np.abs(seen) ** 2).sum())
        if value >= before:
            # So many flips at once disturb each other.
            grid.integers, flips = kept.copy(), flips // 2
            if flips == 0:
                return
            seen, value = inverse @ (grid.rounded - grid.weight) @ vectors, before
        kept, before = grid.integers.copy(), value
        gradient = 2 * grid.step * np.real(inverse.conj().T @ (penalty * seen) @ vectors.conj().T)
        up, down = grid.costs(gradient, curvature)
        best = np.minimum(up, down).ravel()
        chosen = np.argpartition(best, flips)[:flips]
        chosen = chosen[best[chosen] < 0]
        grid.integers.flat[chosen] += np.where(up.flat[chosen] < down.flat[chosen], 1.0, -1.0)
    grid.integers = kept


@dataclass(frozen=True)
class _Residual:
    """Logarithms of eigenvalues over their targets, one of each conjugate pair (``weight`` 2) and the real ones."""

    index: NDArray[np.intp]
    logarithm: NDArray[np.complex128]
    weight: Matrix

    @property
    def value(self) -> float:
        return float((self.weight * np.abs(self.logarithm) ** 2).sum())


def _residual(values: NDArray[np.complex128], targets: NDArray[np.complex128]) -> _Residual:
    """Pairs are matched in the order of their angles; where a pair has become real, by the nearest angle."""
    upper = np.flatnonzero(values.imag > 0)
    upper = upper[np.argsort(np.angle(values[upper]))]
    if len(upper) == len(targets):
        matched = targets
    else:
        distance = np.abs(np.angle(values[upper][:, None] / targets[None]))
        matched = targets[distance.argmin(axis=1)]
    real = np.flatnonzero(values.imag == 0)
    # A real eigenvalue has no phase to keep, only a modulus.
    logarithm = np.concatenate([np.log(values[upper] / matched), np.log(np.abs(values[real]) + 1e-300)])
    return _Residual(
        np.concatenate([upper, real]), logarithm, np.concatenate([np.full(len(upper), 2.0), np.ones(len(real))])
    )


def _refine(grid: _Grid) -> None:
    given = np.linalg.eigvals(grid.weight).astype(np.complex128)
    targets = given[given.imag > 0]
    targets = targets[np.argsort(np.angle(targets))]
    generator = np.random.default_rng(0)
    best, kept, gained = np.inf, grid.integers.copy(), (np.inf, 0)
    for done in range(min(REFINING_ROUNDS, int(REFINING_WORK / len(grid.weight) ** 3))):
        values, vectors = np.linalg.eig(grid.rounded)
        residual = _residual(values.astype(np.complex128), targets)
        if residual.value < best:
            best, kept = residual.value, grid.integers.copy()
        if best < 0.9 * gained[0]:
            gained = (best, done)
        if best < GOOD or done - gained[1] > PATIENCE:
            break
        left = np.linalg.inv(vectors)[residual.index] / values[residual.index][:, None]
        right = vectors[:, residual.index]
        gradient = 2 * grid.step * np.real((left * (residual.weight * residual.logarithm.conj())[:, None]).T @ right.T)
        curvature = grid.step**2 * (np.abs(left) ** 2 * residual.weight[:, None]).T @ (np.abs(right) ** 2).T
        up, down = grid.costs(gradient, curvature)
        costs = np.concatenate([up.ravel(), down.ravel()])
        candidates = np.argpartition(costs, CANDIDATES)[:CANDIDATES]
        candidates = candidates[np.argsort(costs[candidates])]
        size = grid.integers.size
        for candidate in candidates:
            change = 1.0 if candidate < size else -1.0
            grid.integers.flat[candidate % size] += change
            if _residual(np.linalg.eigvals(grid.rounded).astype(np.complex128), targets).value < residual.value:
                break
            grid.integers.flat[candidate % size] -= change
        else:
            # No single flip helps: three at random lead out of the place.
            for candidate in generator.choice(candidates, 3, replace=False):
                grid.integers.flat[candidate % size] += 1.0 if candidate < size else -1.0
    grid.integers = kept


def _report(grid: _Grid) -> RoundingReport:
    values, vectors = np.linalg.eig(grid.rounded)
    given = np.linalg.eigvals(grid.weight).astype(np.complex128)
    targets = given[given.imag > 0]
    residual = _residual(values.astype(np.complex128), targets[np.argsort(np.angle(targets))])
    moduli = np.log(np.abs(values) + 1e-300)
    deviation = grid.rounded @ grid.rounded.T - np.eye(len(grid.weight))
    return RoundingReport(
        modulus_error=float(np.sqrt((moduli**2).mean())),
        phase_error=float(np.sqrt((residual.logarithm.imag**2).mean())),
        largest_modulus=float(np.abs(values).max()),
        condition=float(np.linalg.cond(vectors)),
        deviation=float(np.linalg.norm(deviation)),
        moved=int((grid.integers != grid.nearest).sum()),
    )


def is_orthogonal(weight: NDArray[np.floating]) -> bool:
    """Whether a weight is finite, square and orthogonal up to a hundredth, so that its eigenvalues are worth keeping."""
    matrix = np.asarray(weight, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        return False
    return bool(np.linalg.norm(matrix @ matrix.T - np.eye(len(matrix))) <= 0.01 * np.sqrt(len(matrix)))


def best_step(weight: NDArray[np.floating], low: int, high: int) -> float:
    """The step of least squared error when every entry goes to the nearest of the levels ``low`` to ``high``.

    A step that reaches the largest entry wastes levels on a few; of 4 bits the best one leaves a hundredth of the entries
    beyond the last level, and errs a quarter less. Searched from the largest entry's step downwards, in twentieths.
    """
    matrix = np.asarray(weight, np.float64)
    largest = float(np.abs(matrix).max()) / max(-low, high)
    steps = [largest * part / 20 for part in range(20, 5, -1)]
    errors = [float(((np.clip(np.rint(matrix / step), low, high) * step - matrix) ** 2).sum()) for step in steps]
    return steps[int(np.argmin(errors))]


def _grid(weight: NDArray[np.floating], step: float, low: int, high: int, pinned: NDArray[np.bool_] | None) -> _Grid:
    if not is_orthogonal(weight) or len(weight) < 2:
        raise InvalidInputError(
            f"rounding: found a weight {list(np.shape(weight))}, expected a finite orthogonal [H, H] with H at least 2; "
            "give the orthogonalized weight of a trained float network"
        )
    if not (math.isfinite(step) and step > 0 and low < 0 < high):
        raise InvalidInputError(
            f"rounding: step {step}, levels {low} to {high}; expected a step above 0 and low < 0 < high"
        )
    matrix = np.asarray(weight, np.float64)
    return _Grid(matrix, step, low, high, np.zeros(matrix.shape, bool) if pinned is None else pinned)


def nearest_rounding(
    weight: NDArray[np.floating], step: float, low: int, high: int
) -> tuple[NDArray[np.int8], RoundingReport]:
    """Each entry at its nearest level; arguments and results as ``shaped_rounding``."""
    grid = _grid(weight, step, low, high, None)
    return grid.integers.astype(np.int8), _report(grid)


def shaped_rounding(
    weight: NDArray[np.floating], step: float, low: int, high: int, *, pinned: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int8], RoundingReport]:
    """Each entry at one of its two neighbouring levels, so that the eigenvalues stay where they are.

    Args:
        weight: orthogonal ``W`` [H, H].
        step: between two levels.
        low, high: the first and the last level, -128 to 127.
        pinned: boolean [H, H], entries that stay at their nearest level.

    Returns:
        The levels, int8 [H, H], and a report. The same weight gives the same levels on the same machine; another
        linear algebra library may find others that are as good.

    Raises:
        InvalidInputError: not square, not finite, not orthogonal, or no levels.
    """
    grid = _grid(weight, step, low, high, pinned)
    # Both searches count flips, of which a small matrix has few.
    if grid.integers.size > SHAPING_FLIPS * 2:
        _shape(grid)
    if grid.integers.size > CANDIDATES * 4:
        _refine(grid)
    return grid.integers.astype(np.int8), _report(grid)
