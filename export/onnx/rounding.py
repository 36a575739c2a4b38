"""A layer's requantization by the rule that its attribute ``rounding`` names; without one it is the contract's own.

Every rule is one shift with a rounding of its own, or two: kernels that round twice shift by the bits of the multiplier
first. All is the usual unsigned form, offset by 2^62 so that nothing is negative.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.fragments import INT64, UINT64, Requantization
from qdeploy.export.onnx.functions import Site
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.rounding import DOUBLE_HALF_UP, GEMMLOWP, HALF_AWAY, HALF_EVEN, HALF_UP, SINGLE_PRECISION

__all__ = ["Named", "attributes_of", "requantization", "requantization_constants", "rounding_of"]

_TWICE = (GEMMLOWP, DOUBLE_HALF_UP)
_AWAY = (GEMMLOWP, HALF_AWAY)
_KNOWN = (HALF_UP, HALF_EVEN, *_TWICE, HALF_AWAY)
_MULTIPLIER_BITS = 31
"""A multiplier is below 2^31."""


@dataclass(frozen=True)
class Named:
    """Names that :func:`requantization_constants` defines for a rule that is not the contract's own.

    Attributes:
        rule: its name.
        constants: those of the usual form; their addend is 2^62 alone.
        prefix: of all other names.
    """

    rule: str
    constants: Requantization
    prefix: str


def rounding_of(site: Site, *, by_table: bool = False) -> str:
    """The rule of a node; ``by_table``: whether its body makes a table of it (``single_precision.py``).

    Raises:
        UnsupportedModelError: bodies cannot compute it.
    """
    rounding = str(site.attributes.get("rounding", HALF_UP))
    if rounding not in _KNOWN and not (by_table and rounding == SINGLE_PRECISION):
        raise UnsupportedModelError(
            f"node {site.node.name}: rounding {rounding!r} has no body of integer operators; expected one of "
            f"{', '.join(_KNOWN)}."
        )
    return rounding


def attributes_of(site: Site) -> tuple[str, ...]:
    """Attributes besides those that every node of the operator has, for the function's signature."""
    return ("rounding",) if "rounding" in site.attributes else ()


def requantization_constants(
    rounding: str, prefix: str, *, multiplier: str, shift: str, zero_point: str, low: str, high: str
) -> tuple[list[str], Requantization | Named]:
    """Constants of the unsigned 64-bit form, from int64 scalars (``multiplier`` an int32 tensor)."""
    lines, constants = fragments.requantization_constants(
        prefix, multiplier=multiplier, shift=shift, zero_point=zero_point, low=low, high=high
    )
    if rounding == HALF_UP:
        return lines, constants
    p = prefix
    # Neither the half nor the zero point, whose last bit would count, is added before the shift.
    lines = [line for line in lines if not line.startswith((f"{p}_zs ", f"{p}_c0 ", f"{p}_c ", f"{p}_half "))]
    lines += [f"{p}_zero = Constant<value = uint64 {{0}}>()", *_first(p, rounding), *_last(p)]
    usual = Requantization(constants.multiplier, f"{p}_k0", f"{p}_left", constants.low, constants.high)
    return lines, Named(rounding, usual, p)


def _first(p: str, rounding: str) -> list[str]:
    """``left``: what is left to shift after the first rounding, of those rules that round twice; ``before``, that shift."""
    if rounding not in _TWICE:
        return [f"{p}_before = Identity({p}_zero)", f"{p}_left = Identity({p}_s)"]
    places = ", ".join(map(str, range(_MULTIPLIER_BITS)))
    return [
        f"{p}_places = Constant<value = uint64[{_MULTIPLIER_BITS}] {{{places}}}>()",
        f"{p}_axis = Constant<value_ints = [-1]>()",
        f"{p}_column = Unsqueeze({p}_m, {p}_axis)",
        f'{p}_shifted = BitShift<direction = "RIGHT">({p}_column, {p}_places)',
        f"{p}_there = Clip({p}_shifted, {p}_zero, {p}_one)",
        f"{p}_counted = Cast<to = {INT64}>({p}_there)",
        f"{p}_sum = ReduceSum<keepdims = 0>({p}_counted, {p}_axis)",
        f"{p}_bits = Cast<to = {UINT64}>({p}_sum)",
        f"{p}_before = Clip({p}_bits, {p}_zero, {p}_s)",
        f"{p}_left = Sub({p}_s, {p}_before)",
        f'{p}_unit = BitShift<direction = "LEFT">({p}_one, {p}_before)',
        f'{p}_before_half = BitShift<direction = "RIGHT">({p}_unit, {p}_one)',
    ]


def _last(p: str) -> list[str]:
    """``half`` of the last shift, ``below``, one less unless nothing is shifted, and ``last``, 1 unless nothing is."""
    return [
        f'{p}_last_unit = BitShift<direction = "LEFT">({p}_one, {p}_left)',
        f'{p}_half = BitShift<direction = "RIGHT">({p}_last_unit, {p}_one)',
        f"{p}_ones = Sub({p}_last_unit, {p}_one)",
        f'{p}_below = BitShift<direction = "RIGHT">({p}_ones, {p}_one)',
        f"{p}_last = Clip({p}_left, {p}_zero, {p}_one)",
        f"{p}_top = Constant<value = uint64 {{62}}>()",
        f"{p}_sign = Sub({p}_top, {p}_before)",
    ]


def requantization(prefix: str, accumulator: str, constants: Requantization | Named) -> tuple[list[str], str]:
    """clip(round(acc * M / 2^s) + zero_point) + K as uint64: a Cast to the output's type drops K, which is even.

    Ties to even add the quotient's last bit and one less than a half before the shift, ties away from zero a half where
    the number is not negative, which is the bit of the offset, else one less.
    """
    if isinstance(constants, Requantization):
        return fragments.requantization(prefix, accumulator, constants)
    p, c, usual = prefix, constants.prefix, constants.constants
    lines = [
        f"{p}_w = Cast<to = {UINT64}>({accumulator})",
        f"{p}_wm = Mul({p}_w, {usual.multiplier})",
        f"{p}_wa = Add({p}_wm, {usual.addend})",
    ]
    value = f"{p}_wa"
    if constants.rule in _TWICE:
        lines += [
            f"{p}_wh = Add({value}, {c}_before_half)",
            f'{p}_upper = BitShift<direction = "RIGHT">({p}_wh, {c}_before)',
        ]
        value = f"{p}_upper"
    if constants.rule == DOUBLE_HALF_UP:
        lines.append(f"{p}_wc = Add({value}, {c}_half)")
    else:
        which = f"{c}_sign" if constants.rule in _AWAY else usual.shift
        lines += [
            f'{p}_whole = BitShift<direction = "RIGHT">({value}, {which})',
            f"{p}_more = BitwiseAnd({p}_whole, {c}_last)",
            f"{p}_wb = Add({value}, {c}_below)",
            f"{p}_wc = Add({p}_wb, {p}_more)",
        ]
    lines += [
        f'{p}_ws = BitShift<direction = "RIGHT">({p}_wc, {usual.shift})',
        f"{p}_wz = Add({p}_ws, {c}_z)",
        f"{p}_r = Clip({p}_wz, {usual.low}, {usual.high})",
    ]
    return lines, f"{p}_r"
