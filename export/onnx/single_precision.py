"""A table of accumulators rounded as kernels in single precision do, by integer operators: some forty, once, at load.

A float32 product keeps 24 bits. Sign and size are apart, so that both roundings, to 24 bits and to an integer, are shifts
of a number that is not negative, ties to even.
"""

from __future__ import annotations

from qdeploy.export.onnx.fragments import INT64, UINT64

__all__ = ["single_precision"]

_SINGLE_BITS = 24
_HALVES = (32, 16, 8, 4, 2, 1)
"""How far a search for the highest bit of 64 looks."""


def single_precision(
    prefix: str, accumulator: str, *, multiplier: str, shift: str, zero_point: str, low: str, high: str
) -> tuple[list[str], str]:
    """clip(rint(float32(acc) float32(M / 2^s)) + zero_point, low, high) as int64, and its name.

    Args:
        prefix: of all other names.
        accumulator: int32, within 2^24.
        multiplier: int32 ``[1]``, positive, below 2^24.
        shift, zero_point, low, high: int64 scalars.
    """
    p = prefix
    lines = [
        f"{p}_wide = Cast<to = {INT64}>({accumulator})",
        f"{p}_sign = Sign({p}_wide)",
        f"{p}_size = Abs({p}_wide)",
        f"{p}_a = Cast<to = {UINT64}>({p}_size)",
        f"{p}_m = Cast<to = {UINT64}>({multiplier})",
        f"{p}_s = Cast<to = {UINT64}>({shift})",
        f"{p}_zero = Constant<value = uint64 {{0}}>()",
        f"{p}_one = Constant<value = uint64 {{1}}>()",
        f"{p}_product = Mul({p}_a, {p}_m)",
    ]
    rest, place = f"{p}_product", f"{p}_zero"
    for bits in _HALVES:
        q = f"{p}_{bits}"
        lines += [
            f"{q} = Constant<value = uint64 {{{bits}}}>()",
            f'{q}_above = BitShift<direction = "RIGHT">({rest}, {q})',
            f"{q}_any = Clip({q}_above, {p}_zero, {p}_one)",
            f"{q}_by = Mul({q}_any, {q})",
            f'{q}_rest = BitShift<direction = "RIGHT">({rest}, {q}_by)',
            f"{q}_place = Add({place}, {q}_by)",
        ]
        rest, place = f"{q}_rest", f"{q}_place"
    first, held = _half_even(f"{p}_held", f"{p}_product", f"{p}_excess", p)
    second, whole = _half_even(f"{p}_last", f"{p}_single", f"{p}_s", p)
    lines += [
        f"{p}_kept = Constant<value = uint64 {{{_SINGLE_BITS - 1}}}>()",
        f"{p}_below = Clip({place}, {p}_zero, {p}_kept)",
        f"{p}_excess = Sub({place}, {p}_below)",
        *first,
        f'{p}_single = BitShift<direction = "LEFT">({held}, {p}_excess)',
        *second,
        f"{p}_integer = Cast<to = {INT64}>({whole})",
        f"{p}_signed = Mul({p}_integer, {p}_sign)",
        f"{p}_y = Add({p}_signed, {zero_point})",
        f"{p}_r = Clip({p}_y, {low}, {high})",
    ]
    return lines, f"{p}_r"


def _half_even(prefix: str, value: str, bits: str, p: str) -> tuple[list[str], str]:
    """value / 2^bits to the nearest, ties to even: the quotient's last bit and one less than a half are added before."""
    q = prefix
    return [
        f'{q}_unit = BitShift<direction = "LEFT">({p}_one, {bits})',
        f"{q}_ones = Sub({q}_unit, {p}_one)",
        f'{q}_under = BitShift<direction = "RIGHT">({q}_ones, {p}_one)',
        f"{q}_last = Clip({bits}, {p}_zero, {p}_one)",
        f'{q}_floor = BitShift<direction = "RIGHT">({value}, {bits})',
        f"{q}_odd = BitwiseAnd({q}_floor, {q}_last)",
        f"{q}_more = Add({value}, {q}_under)",
        f"{q}_sum = Add({q}_more, {q}_odd)",
        f'{q}_quotient = BitShift<direction = "RIGHT">({q}_sum, {bits})',
    ], f"{q}_quotient"
