"""A layer's requantization by the rule that its attribute ``rounding`` names; without one it is the contract's own."""

from __future__ import annotations

from dataclasses import dataclass

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.fragments import UINT64, Requantization
from qdeploy.export.onnx.functions import Site
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.rounding import HALF_EVEN, HALF_UP

__all__ = ["HalfEven", "attributes_of", "requantization", "requantization_constants", "rounding_of"]


@dataclass(frozen=True)
class HalfEven:
    """Names that :func:`requantization_constants` defines for ties to even.

    Attributes:
        constants: those of the usual form; their addend is 2^62 alone.
        below_half: (2^s - 1) >> 1, what is added besides the quotient's last bit.
        last_bit: 1, or 0 where s is 0 and nothing is rounded.
        zero_point: of y.
    """

    constants: Requantization
    below_half: str
    last_bit: str
    zero_point: str


def rounding_of(site: Site) -> str:
    """The rule of a node.

    Raises:
        UnsupportedModelError: bodies cannot compute it.
    """
    rounding = str(site.attributes.get("rounding", HALF_UP))
    if rounding not in (HALF_UP, HALF_EVEN):
        raise UnsupportedModelError(
            f"node {site.node.name}: rounding {rounding!r} has no body of integer operators; expected {HALF_UP} or {HALF_EVEN}."
        )
    return rounding


def attributes_of(site: Site) -> tuple[str, ...]:
    """Attributes besides those that every node of the operator has, for the function's signature."""
    return ("rounding",) if "rounding" in site.attributes else ()


def requantization_constants(
    rounding: str, prefix: str, *, multiplier: str, shift: str, zero_point: str, low: str, high: str
) -> tuple[list[str], Requantization | HalfEven]:
    """Constants of the unsigned 64-bit form, from int64 scalars (``multiplier`` an int32 tensor)."""
    lines, constants = fragments.requantization_constants(
        prefix, multiplier=multiplier, shift=shift, zero_point=zero_point, low=low, high=high
    )
    if rounding == HALF_UP:
        return lines, constants
    p = prefix
    # Neither the half nor the zero point, whose last bit would count, is added before the shift.
    lines = [line for line in lines if not line.startswith((f"{p}_zs ", f"{p}_c0 ", f"{p}_c ", f"{p}_half "))]
    lines += [
        f"{p}_zero = Constant<value = uint64 {{0}}>()",
        f"{p}_ones = Sub({p}_p, {p}_one)",
        f'{p}_below = BitShift<direction = "RIGHT">({p}_ones, {p}_one)',
        f"{p}_last = Clip({p}_s, {p}_zero, {p}_one)",
    ]
    usual = Requantization(constants.multiplier, f"{p}_k0", constants.shift, constants.low, constants.high)
    return lines, HalfEven(usual, f"{p}_below", f"{p}_last", f"{p}_z")


def requantization(prefix: str, accumulator: str, constants: Requantization | HalfEven) -> tuple[list[str], str]:
    """clip(round(acc * M / 2^s) + zero_point) + K as uint64: a Cast to the output's type drops K.

    Ties to even: the quotient's last bit and one less than a half are added before the shift. K is even.
    """
    if isinstance(constants, Requantization):
        return fragments.requantization(prefix, accumulator, constants)
    p, usual = prefix, constants.constants
    lines = [
        f"{p}_w = Cast<to = {UINT64}>({accumulator})",
        f"{p}_wm = Mul({p}_w, {usual.multiplier})",
        f"{p}_wa = Add({p}_wm, {usual.addend})",
        f'{p}_floor = BitShift<direction = "RIGHT">({p}_wa, {usual.shift})',
        f"{p}_odd = BitwiseAnd({p}_floor, {constants.last_bit})",
        f"{p}_wb = Add({p}_wa, {constants.below_half})",
        f"{p}_wc = Add({p}_wb, {p}_odd)",
        f'{p}_ws = BitShift<direction = "RIGHT">({p}_wc, {usual.shift})',
        f"{p}_wz = Add({p}_ws, {constants.zero_point})",
        f"{p}_r = Clip({p}_wz, {usual.low}, {usual.high})",
    ]
    return lines, f"{p}_r"
