"""Requantization with ties to even in int32, of products that single precision holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.numeric import FLOAT32_EXACT, IntArray, odd_part

if TYPE_CHECKING:
    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.writer import Value

__all__ = ["requantize_half_even"]

_LONGEST = 30
"""Beyond it, what is below 2^24 rounds to 0 as it does here."""


def requantize_half_even(
    code: Code,
    accumulator: Value,
    multiplier: IntArray,
    shift: int,
    zero_point: int,
    low: int,
    high: int,
    *,
    bounds: IntArray,
) -> Value:
    """clip(rint(acc M / 2^s) + zero_point, low, high), ties to even.

    A multiplier without its factors of two leaves a product below 2^24 and a shift of its own for every output; with the last
    bit of the quotient, ``(p + 2^(s-1) - 1 + (p >> s & 1)) >> s`` goes to the even neighbour.

    Args:
        code: where the operators go.
        accumulator: int32 ``[..., N]``.
        multiplier: int32 ``[1]`` or ``[N]``, positive.
        shift: s, 0 to 46.
        zero_point, low, high: as in the contract, of uint8; the result is int32.
        bounds: ``[N]``: no accumulator of an output is larger in absolute value.

    Raises:
        UnsupportedModelError: a product of 2^24 or more, of which the contract has none.
    """
    factor = odd_part(multiplier)
    twos = np.frexp((multiplier.astype(np.int64) // factor).astype(np.float64))[1] - 1
    factor = factor << np.maximum(twos - shift, 0)
    left = np.clip(shift - twos, 0, _LONGEST)
    largest = int((bounds.astype(np.int64) * factor).max())
    if largest >= FLOAT32_EXACT:
        raise UnsupportedModelError(
            f"a product reaches {largest}, expected less than 2^24, which single precision holds; export again."
        )
    product = code.multiply(accumulator, factor)
    quotient = code.shift_right_each(product, left)
    # quotient - 2 floor(quotient / 2): the last bit. Where nothing is shifted out, there is nothing to round.
    last = code.subtract(quotient, code.multiply(code.shift_right(quotient, 1), 2))
    rounded = left > 0
    half = np.where(rounded, (1 << np.maximum(left, 1) - 1) - 1, 0)
    moved = code.add(code.add(product, half), code.multiply(last, rounded.astype(np.int32)))
    return code.clip(code.add(code.shift_right_each(moved, left), zero_point), low, high)
