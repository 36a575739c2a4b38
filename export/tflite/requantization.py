"""Requantization in int32: what the contract does in 64 bits, in pieces that never need more than 32.

Four forms, by the multiplier M and the shift s; acc is an accumulator:

- M = 1: ``(acc + 2^(s-1)) >> s``.
- acc 2^j fits 32 bits: M in two to four pieces of j bits, the products of acc with each, ``>> j`` and added to the next
  higher one. Floors may be nested: what the inner one drops is less than one step of the outer one.
- |M| < 2^15: acc = hi 2^15 + lo, then ``(hi M + ((lo M) >> 15) + 2^(s-16)) >> (s - 15)``. Below s = 15 the accumulator is
  first clipped to what does not saturate, so that acc M fits.
- any other M: acc and M in limbs of 11 bits, their product limb by limb, with carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.writer import Value
from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["folded_constant", "requantize", "scaled_sum"]

_LIMB = 11
_HALF_WORD = 15
_NARROW = 1 << _HALF_WORD
_MASK = (1 << _LIMB) - 1
_WORD = 31
_TOP = 1 << _WORD
_MOST_PIECES = 4
"""Of a multiplier: what they save is less than what more of them cost."""


def requantize(
    code: Code,
    accumulator: Value,
    multiplier: NDArray[Any],
    shift: int,
    zero_point: int,
    low: int,
    high: int,
    *,
    bound: int = 2**31 - 1,
    folded: bool = False,
) -> Value:
    """clip(floor((acc M + 2^(s-1)) / 2^s) + zero_point, low, high).

    Args:
        code: where the operators go.
        accumulator: int32 ``[..., N]``.
        multiplier: int32 ``[1]`` or ``[N]``.
        shift: 0 to 46.
        zero_point, low, high: as in the contract; the result is int32 whatever type they belong to.
        bound: no accumulator is larger than this in absolute value.
        folded: whether the accumulator already has what :func:`folded_constant` gives added, and is rectified where ``low`` is 0.

    Raises:
        UnsupportedModelError: a result of 32 bits whose product does not fit the pieces, or more.
    """
    if folded:
        # At most 0 rectifies before the shift as well as behind it; the accumulator's own addition does that.
        least = -(2**31) if low == 0 else low
        largest = bound + (1 << shift >> 1) >> shift
        return _within(code, code.shift_right(accumulator, shift), least, high, zero_point, largest)
    factors = multiplier.astype(np.int64).reshape(-1)
    if (factors == factors[0]).all():
        factors = factors[:1]
    largest = int(np.abs(factors).max())
    half = 1 << (shift - 1) if shift else 0
    reach = max(abs(low - zero_point), abs(high - zero_point)) + 1
    product = bound * largest
    cut = None if product + half < _TOP else _Cut.of(largest, shift, bound, zero_point)
    if (
        product + half >= _TOP
        and cut is None
        and not _fits_halves(largest, product, shift)
        and reach << shift < 1 << 63
        and high - low < _TOP
    ):
        ends = low - zero_point, high - zero_point
        accumulator, bound, product = _clamped(code, accumulator, factors, shift, *ends, bound)
        cut = _Cut.of(largest, shift, bound, zero_point)
    if product + half + (abs(zero_point) << shift) < _TOP:
        # The zero point is added before the shift: one operator less.
        sums, left = code.multiply(accumulator, _number(factors)), shift
    elif cut is not None:
        sums, left = cut.product(code, accumulator, factors), shift - cut.dropped
    else:
        sums, left = None, 0
    if sums is not None:
        rectified = low == 0
        whole = code.add(sums, (1 << left >> 1) + (zero_point << left), rectified=rectified)
        least = -(2**31) if rectified else low
        return _within(code, code.shift_right(whole, left), least, high, zero_point, product + half >> shift)
    if product + half < _TOP:
        y = code.shift_right(code.add(code.multiply(accumulator, _number(factors)), half), shift)
    elif _fits_halves(largest, product, shift):
        y = _halves(code, accumulator, factors, shift)
    elif product >> shift < 1 << 30:
        y = _limbs(code, [(accumulator, factors)], np.zeros((), np.int64), shift)
    else:
        raise UnsupportedModelError(
            f"a requantization to [{low}, {high}] with multipliers up to {largest} and a shift of {shift} has no form in int32; "
            "export with a recipe of 15-bit multipliers."
        )
    return _moved_within(code, y, low, high, zero_point, (product + half >> shift) + 1)


def _fits_halves(largest: int, product: int, shift: int) -> bool:
    half = 1 << (shift - 1) if shift else 0
    return largest < _NARROW and shift >= _HALF_WORD and (product >> _HALF_WORD) + (half >> _HALF_WORD) + _NARROW < _TOP


def _within(code: Code, y: Value, low: int, high: int, zero_point: int, largest: int) -> Value:
    """``y`` within [low, high]; a bound that zero_point +- largest does not pass is left out."""
    low = -(2**31) if zero_point - largest - 1 >= low else low
    high = 2**31 - 1 if zero_point + largest <= high else high
    return code.clip(y, low, high)


def _moved_within(code: Code, y: Value, low: int, high: int, zero_point: int, largest: int) -> Value:
    """``y + zero_point`` within [low, high]: the lower bound by the rectifier of an addition, where that fits."""
    if largest + abs(zero_point) >= _TOP:
        # The sum could leave 32 bits: what saturates is cut before.
        least, most = max(low - zero_point, -(2**31)), min(high - zero_point, 2**31 - 1)
        return code.add(code.clip(y, least, most), zero_point)
    if low == -(2**31) or largest + abs(zero_point - low) >= _TOP:
        return code.clip(code.add(y, zero_point), low, high)
    above = code.clip(code.add(y, zero_point - low, rectified=True), -(2**31), high - low)
    return code.add(above, low)


def folded_constant(multiplier: NDArray[Any], shift: int, zero_point: int, bound: int) -> int | None:
    """What may be added to an accumulator ahead of time, where M = 1: the rounding's half and the zero point.

    Returns None where M is another number, or where a sum could leave 32 bits.
    """
    constant = (1 << shift >> 1) + (zero_point << shift)
    return constant if bool((multiplier == 1).all()) and bound + abs(constant) < _TOP else None


@dataclass(frozen=True)
class _Cut:
    """A multiplier as ``count`` pieces of ``bits`` bits each; the highest one has its sign."""

    bits: int
    count: int

    @classmethod
    def of(cls, largest: int, shift: int, bound: int, zero_point: int) -> _Cut | None:
        """For multipliers up to ``largest`` and accumulators up to ``bound``; None where no few pieces fit 32 bits."""
        room = _WORD - bound.bit_length()
        for count in range(2, _MOST_PIECES + 1):
            cut = cls(-(-largest.bit_length() // count), count)
            left = shift - cut.dropped
            added = (1 << left >> 1) + (abs(zero_point) << left) if left >= 1 else _TOP
            if cut.bits <= room and bound * ((largest >> cut.dropped) + 2) + added < _TOP:
                return cut
        return None

    @property
    def dropped(self) -> int:
        """How many bits of the product are gone: rounding needs none of them, since floors may be nested."""
        return self.bits * (self.count - 1)

    def product(self, code: Code, x: Value, factors: NDArray[np.int64]) -> Value:
        """floor(x factors / 2^dropped)."""
        pieces = [(factors >> place * self.bits) & ((1 << self.bits) - 1) for place in range(self.count - 1)]
        pieces.append(factors >> self.dropped)
        total = code.multiply(x, _factor(code, pieces[0]))
        for piece in pieces[1:]:
            total = code.add(code.multiply(x, _factor(code, piece)), code.shift_right(total, self.bits))
        return total


def _clamped(
    code: Code, accumulator: Value, factors: NDArray[np.int64], shift: int, low: int, high: int, bound: int
) -> tuple[Value, int, int]:
    """The accumulator within the ends where its result saturates in any case, its bound then, and that of its product."""
    ends = [_ends(int(factor), shift, low, high) for factor in factors]
    least, most = (np.clip([pair[place] for pair in ends], -(2**31), 2**31 - 1) for place in (0, 1))
    clamped = code.clip(accumulator, _number(least), _number(most))
    sizes = np.minimum(np.maximum(np.abs(least), np.abs(most)), bound)
    return clamped, int(sizes.max()), int((sizes.astype(object) * np.abs(factors)).max())


def _ends(factor: int, shift: int, low: int, high: int) -> tuple[int, int]:
    """Accumulators whose results are at most ``low`` and at least ``high``, in rising order."""
    if factor == 0:
        return 0, 0
    half = 1 << (shift - 1) if shift else 0
    # acc M + half < (low + 1) 2^s, and acc M + half >= high 2^s.
    below, above = ((low + 1) << shift) - half - 1, (high << shift) - half
    if factor > 0:
        return below // factor, -(-above // factor)
    return above // factor, -(-below // factor)


def _halves(code: Code, accumulator: Value, factors: NDArray[np.int64], shift: int) -> Value:
    """Multipliers of 15 bits, shifts of 15 and more."""
    high = code.shift_right(accumulator, _HALF_WORD)
    low = code.subtract(accumulator, code.multiply(high, _NARROW))
    upper, lower = (code.multiply(part, _number(factors)) for part in (high, low))
    if shift == _HALF_WORD:
        return code.add(upper, code.shift_right(code.add(lower, 1 << (_HALF_WORD - 1)), _HALF_WORD))
    whole = code.add(upper, code.shift_right(lower, _HALF_WORD))
    return code.shift_right(code.add(whole, 1 << (shift - _HALF_WORD - 1)), shift - _HALF_WORD)


def scaled_sum(
    code: Code,
    terms: Sequence[tuple[Value, NDArray[Any], int]],
    addend: NDArray[Any] | int,
    shift: int,
    zero_point: int,
    low: int,
    high: int,
) -> Value:
    """clip(floor((sum of x_i f_i + addend + 2^(s-1)) / 2^s) + zero_point, low, high): several products, one rounding.

    Args:
        code: where the operators go.
        terms: int32 x_i, integers f_i of any shape that broadcasts, below 2^31, and a bound of |x_i|.
        addend: integers below 2^31 that broadcast, in steps of the result / 2^s.
        shift: 0 to 46.
        zero_point, low, high: of the result, which is int32.

    Raises:
        UnsupportedModelError: the sum is so large beside 2^s that the pieces do not hold it.
    """
    half = 1 << (shift - 1) if shift else 0
    constant = np.asarray(addend, np.int64)
    reach = sum(bound * int(np.abs(factors.astype(np.int64)).max()) for _, factors, bound in terms)
    reach += int(np.abs(constant).max()) + half
    if reach < _TOP:
        total = code.total(code.multiply(x, factors) for x, factors, _ in terms)
        y = code.shift_right(code.add(total, constant + half), shift)
    elif reach >> shift < 1 << 30:
        y = _limbs(code, [(x, factors.astype(np.int64)) for x, factors, _ in terms], constant, shift)
    else:
        raise UnsupportedModelError(
            f"a sum of products up to {reach} with a shift of {shift} has no form in int32; export with a recipe of 15-bit "
            "multipliers."
        )
    return _moved_within(code, y, low, high, zero_point, (reach >> shift) + 1)


def _limbs(
    code: Code, terms: Sequence[tuple[Value, NDArray[np.int64]]], addend: NDArray[np.int64], shift: int
) -> Value:
    """Any multipliers, in limbs. The highest limb of a number has its sign, the others are not negative.

    Numbers are scaled so that the shift drops whole limbs: what is left is the result itself, and fits.
    """
    scale = -shift % _LIMB
    whole = (shift + scale) // _LIMB
    constants = [np.asarray(limb) for limb in _limbs_of(addend << scale)]
    constants += [np.zeros((), np.int64)] * (7 - len(constants))
    if shift:
        place, bit = divmod(shift + scale - 1, _LIMB)
        constants[place] = constants[place] + (1 << bit)
    columns: list[Value | None] = [None] * len(constants)
    for x, factors in terms:
        for place, part in enumerate(_split(code, x)):
            for other, limb in enumerate(_limbs_of(factors << scale)):
                if limb.any():
                    columns[place + other] = _sum(code, columns[place + other], code.multiply(part, _number(limb)))
    nothing = code.multiply(terms[0][0], 0)
    filled = [
        code.add(nothing, constant) if column is None and constant.any() else column and code.add(column, constant)
        for column, constant in zip(columns, constants, strict=True)
    ]
    carry: Value | None = None
    for column in filled[:whole]:
        total = _sum(code, column, carry)
        carry = None if total is None else code.shift_right(total, _LIMB)
    y: Value | None = None
    for column in reversed(filled[whole:]):
        y = column if y is None else _sum(code, code.multiply(y, 1 << _LIMB), column)
    result = _sum(code, y, carry)
    return nothing if result is None else result


def _limbs_of(values: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """As few as the largest needs with its sign, four at most."""
    count = -(-(int(np.abs(values).max()).bit_length() + 1) // _LIMB)
    inner = [(values >> place * _LIMB) & _MASK for place in range(count - 1)]
    return [*inner, values >> (count - 1) * _LIMB]


def _split(code: Code, value: Value) -> list[Value]:
    upper = code.shift_right(value, _LIMB)
    top = code.shift_right(value, 2 * _LIMB)
    return [
        code.subtract(value, code.multiply(upper, 1 << _LIMB)),
        code.subtract(upper, code.multiply(top, 1 << _LIMB)),
        top,
    ]


def _sum(code: Code, x: Value | None, y: Value | None) -> Value | None:
    if x is None or y is None:
        return x if y is None else y
    return code.add(x, y)


def _factor(code: Code, values: NDArray[np.int64]) -> Any:
    """A number, or a vector: in a file that has it in 16 bits unless a loop would widen it at every step."""
    if values.size == 1 or code.in_loop or int(np.abs(values).max()) >= _NARROW:
        return _number(values)
    return code.cast(code.subgraph.constant(values, np.int16), np.int32)


def _number(values: NDArray[Any]) -> Any:
    """A number where there is one, else the vector."""
    return int(values[0]) if values.size == 1 else values
