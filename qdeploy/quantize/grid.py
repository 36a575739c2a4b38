"""Recognises weights that were trained on the grid of a quantizer q_k, so that they come back exactly.

q_k (Foucault, Mamalet, Malgouyres, arXiv 2402.04012): n = clip(round(W 2^(k-1) / alpha), -2^(k-1), 2^(k-1) - 1),
W_q = alpha n / 2^(k-1); two's complement, not symmetric. For k = 1 the integers are -1, 0, 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

MAX_BITS = 8


@dataclass(frozen=True)
class Grid:
    """Weights as integers on a grid: weight = step * integers, exactly in float32.

    Attributes:
        integers: int8, of the weights' shape.
        step: alpha / 2^(k-1), float64.
        bits: the smallest k whose two's complement range holds the integers (2 for ternary).
    """

    integers: NDArray[np.int8]
    step: float
    bits: int


def recognise_grid(weight: NDArray[np.float32], max_bits: int = MAX_BITS) -> Grid | None:
    """The grid of ``weight``, or None where it lies on none of at most ``max_bits`` bits.

    The step is a divisor of the smallest distance between two values; it is accepted only where step times integer
    gives every weight back to the last bit of float32, which values that were not made on a grid do not do by chance.
    """
    values = np.unique(np.abs(weight.astype(np.float64)))
    values = values[values > 0]
    if values.size == 0 or values.size > 2 ** (max_bits - 1):
        return None
    largest = values[-1]
    gap = float(np.diff(np.concatenate([[0.0], values])).min())
    if gap < largest / 2 ** (max_bits - 1) * 0.99:
        return None
    for divisor in range(1, 2 ** (max_bits - 1) + 1):
        estimate = gap / divisor
        count = round(largest / estimate)
        if count > 2 ** (max_bits - 1):
            return None
        found = _exact(weight, largest / count, max_bits)
        if found is not None:
            return found
    return None


def _exact(weight: NDArray[np.float32], estimate: float, max_bits: int) -> Grid | None:
    """The grid of about this step that gives the weights back to the last bit of float32, or None."""
    integers = np.rint(weight.astype(np.float64) / estimate)
    if np.abs(weight - integers * estimate).max() > 1e-4 * estimate:
        return None
    low, high = integers.min(), integers.max()
    bits = next((k for k in range(2, max_bits + 1) if -(2 ** (k - 1)) <= low and high < 2 ** (k - 1)), None)
    if bits is None:
        return None
    # Every weight is a product rounded to float32: it leaves an interval to the step, and the true step lies in all.
    used = integers != 0
    magnitude, count = np.abs(weight[used].astype(np.float64)), np.abs(integers[used])
    rounding = np.spacing(np.abs(weight[used])).astype(np.float64) / 2
    least, most = ((magnitude - rounding) / count).max(), ((magnitude + rounding) / count).min()
    step = float((least + most) / 2)
    if not (np.float32(step * integers) == weight).all():
        return None
    return Grid(integers.astype(np.int8), step, bits)


def on_grid(weight: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """q_k(``weight``): the nearest values of the grid of ``bits`` bits whose alpha is the largest magnitude.

    Halves go to the even integer, +alpha saturates to 2^(k-1) - 1; for k = 1 the integers are -1, 0, 1.

    Raises:
        InvalidInputError: bits outside 1 to 8.
    """
    if not 1 <= bits <= MAX_BITS:
        raise InvalidInputError(f"bits={bits}; expected 1 to {MAX_BITS}.")
    alpha = np.abs(weight).max(initial=np.float32(0))
    if alpha == 0:
        return weight.copy()
    levels = np.float32(1 << (bits - 1))
    top = 1 if bits == 1 else levels - 1
    integers = np.clip(np.rint(weight * levels / alpha), -levels, top)
    quantized: NDArray[np.float32] = (integers * (alpha / levels)).astype(np.float32)
    return quantized
