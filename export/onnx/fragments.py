"""Pieces of ONNX text that several bodies share.

Bodies are written in ONNX's text syntax. A piece is a list of lines that read the names given to it and define the
names it returns, prefixed so that two pieces never collide. Everything derived from constants stands outside loops:
runtimes fold it when they load the model.

The forms were chosen by measurement on onnxruntime and are exact on every processor (``docs/bodies.md``):
unsigned 64-bit requantization, since BitShift exists for unsigned types only; weights as uint8 with zero point 128
where int8 could saturate on x86 without VNNI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, UINT64 = 1, 2, 3, 4, 5, 6, 7, 13


def attribute(name: str, to: int, *, result: str | None = None) -> list[str]:
    """The function's integer attribute ``name`` as a scalar of element type ``to``, named ``result`` or like it."""
    out = result or name
    if to == INT64:
        return [f"{out} = Constant<value_int: int = @{name}>()"]
    return [f"{out}_i64 = Constant<value_int: int = @{name}>()", f"{out} = Cast<to = {to}>({out}_i64)"]


def constant(result: str, kind: str, value: int) -> list[str]:
    """A scalar constant, ``kind`` being the text syntax's type name."""
    return [f"{result} = Constant<value = {kind} {{{value}}}>()"]


def vector(result: str, values: list[int]) -> list[str]:
    """An int64 vector: axes and shapes; ``value_ints`` takes fewer bytes than a tensor."""
    return [f"{result} = Constant<value_ints = [{', '.join(map(str, values))}]>()"]


def trailing_axes(result: str, source: str, rank: int, count: int) -> list[str]:
    """``source`` of ``rank`` axes with ``count`` axes of length 1 behind them: it broadcasts over what follows channels."""
    if count == 0:
        return [f"{result} = Identity({source})"]
    axes = list(range(rank, rank + count))
    return [*vector(f"{result}_axes", axes), f"{result} = Unsqueeze({source}, {result}_axes)"]


@dataclass(frozen=True)
class Requantization:
    """Names that :func:`requantization_constants` defines, for :func:`requantization`."""

    multiplier: str
    addend: str
    shift: str
    low: str
    high: str


def requantization_constants(
    prefix: str, *, multiplier: str, shift: str, zero_point: str, low: str, high: str
) -> tuple[list[str], Requantization]:
    """Constants of the unsigned 64-bit form, from int64 scalars (``multiplier`` an int32 tensor).

    acc * M + ((K + zero_point) << s) + (2^s >> 1) is positive for K = 2^(62-s); K is a multiple of 2^16 for s <= 46, so
    that a cast to 8 or 16 bits drops it, and of 2^32 for s <= 30.
    """
    p = prefix
    lines = [
        f"{p}_m = Cast<to = {UINT64}>({multiplier})",
        f"{p}_s = Cast<to = {UINT64}>({shift})",
        f"{p}_one = Constant<value = uint64 {{1}}>()",
        f"{p}_k0 = Constant<value = uint64 {{{2**62}}}>()",
        f'{p}_k = BitShift<direction = "RIGHT">({p}_k0, {p}_s)',
        f'{p}_p = BitShift<direction = "LEFT">({p}_one, {p}_s)',
        f'{p}_half = BitShift<direction = "RIGHT">({p}_p, {p}_one)',
        f"{p}_z = Cast<to = {UINT64}>({zero_point})",
        f"{p}_zs = Mul({p}_z, {p}_p)",
        f"{p}_c0 = Add({p}_k0, {p}_zs)",
        f"{p}_c = Add({p}_c0, {p}_half)",
        f"{p}_l = Cast<to = {UINT64}>({low})",
        f"{p}_lo = Add({p}_k, {p}_l)",
        f"{p}_h = Cast<to = {UINT64}>({high})",
        f"{p}_hi = Add({p}_k, {p}_h)",
    ]
    return lines, Requantization(f"{p}_m", f"{p}_c", f"{p}_s", f"{p}_lo", f"{p}_hi")


def requantization(prefix: str, accumulator: str, constants: Requantization) -> tuple[list[str], str]:
    """clip(round(acc * M / 2^s) + zero_point) + K as uint64: a Cast to the output's type drops K."""
    p = prefix
    lines = [
        f"{p}_w = Cast<to = {UINT64}>({accumulator})",
        f"{p}_wm = Mul({p}_w, {constants.multiplier})",
        f"{p}_wa = Add({p}_wm, {constants.addend})",
        f'{p}_ws = BitShift<direction = "RIGHT">({p}_wa, {constants.shift})',
        f"{p}_r = Clip({p}_ws, {constants.low}, {constants.high})",
    ]
    return lines, f"{p}_r"


NARROW_REACH = 2**30
"""Below it, a sum with its rounding and its zero point can be closed in int32 by :func:`narrow_requantization`."""


def fits_narrow(reach: int, attributes: Mapping[str, Any]) -> bool:
    """Whether sums up to ``reach`` leave int32 the room that :func:`narrow_requantization` needs, to 8 or 16 bits."""
    shift, zero_point = int(attributes["shift"]), abs(int(attributes["y_zero_point"]))
    small = int(attributes["dtype"]) != INT32
    return small and shift <= 30 and reach + (zero_point << shift) + (1 << shift) < NARROW_REACH


def narrow_constants(prefix: str) -> list[str]:
    """What :func:`narrow_requantization` reads, from the attributes ``shift``, ``y_zero_point``, ``low`` and ``high`` (int64).

    Sums are lifted by K 2^s = 2^30, so that Div, which truncates, rounds down.
    """
    p = prefix
    return [
        f"{p}_s = Cast<to = {UINT64}>(shift)",
        f"{p}_u1 = Constant<value = uint64 {{1}}>()",
        f'{p}_up = BitShift<direction = "LEFT">({p}_u1, {p}_s)',
        f"{p}_power = Cast<to = {INT64}>({p}_up)",
        f'{p}_uh = BitShift<direction = "RIGHT">({p}_up, {p}_u1)',
        f"{p}_half = Cast<to = {INT64}>({p}_uh)",
        f"{p}_top = Constant<value = int64 {{{NARROW_REACH}}}>()",
        f"{p}_k = Div({p}_top, {p}_power)",
        f"{p}_zs = Mul(y_zero_point, {p}_power)",
        f"{p}_a0 = Add({p}_top, {p}_zs)",
        f"{p}_a = Add({p}_a0, {p}_half)",
        f"{p}_l = Add(low, {p}_k)",
        f"{p}_h = Add(high, {p}_k)",
        *(
            f"{p}_{name} = Cast<to = {INT32}>({p}_{source})"
            for name, source in (("p32", "power"), ("k32", "k"), ("a32", "a"), ("lo", "l"), ("hi", "h"))
        ),
    ]


def narrow_requantization(prefix: str, lifted: str, constants: str) -> tuple[list[str], str]:
    """clip(round(sum / 2^s) + zero_point) in int32, of sums to which ``<constants>_a32`` was added."""
    p, c = prefix, constants
    lines = [
        f"{p}_d = Div({lifted}, {c}_p32)",
        f"{p}_c = Clip({p}_d, {c}_lo, {c}_hi)",
        f"{p}_r = Sub({p}_c, {c}_k32)",
    ]
    return lines, f"{p}_r"


def matrix(prefix: str, weight: str, form: str) -> tuple[list[str], str, str]:
    """The int8 weight ``[N, K]`` as right-hand side ``[K, N]`` of MatMulInteger, and its zero point's name.

    ``form`` is ``s8`` (as it is) or ``u8`` (plus 128, zero point 128: exact on processors whose u8 x s8 product
    saturates, and free of -128).
    """
    p = prefix
    lines = [f"{p}_t = Transpose<perm = [1, 0]>({weight})"]
    if form == "s8":
        return lines, f"{p}_t", ""
    lines += [
        f"{p}_t32 = Cast<to = {INT32}>({p}_t)",
        f"{p}_128 = Constant<value = int32 {{128}}>()",
        f"{p}_t128 = Add({p}_t32, {p}_128)",
        f"{p}_u = Cast<to = {UINT8}>({p}_t128)",
        f"{p}_uz = Constant<value = uint8 {{128}}>()",
    ]
    return lines, f"{p}_u", f"{p}_uz"


def product(prefix: str, x: str, x_kind: str, weight: str, weight_zero_point: str) -> tuple[list[str], str]:
    """int32 product of activations and a matrix from :func:`matrix`.

    ``x_kind`` is ``u8`` (reads the attribute ``x_zero_point``) or ``s16``: then x = 256 (hi - 128) + lo, two products.
    """
    p = prefix
    if x_kind == "u8":
        lines = [
            *attribute("x_zero_point", UINT8, result=f"{p}_xz"),
            f"{p}_acc = MatMulInteger({x}, {weight}, {p}_xz, {weight_zero_point})",
        ]
        return [line.replace(", )", ")") for line in lines], f"{p}_acc"
    lines, high, low = bytes_of(p, x)
    lines += [
        f"{p}_ah = MatMulInteger({high}, {weight}, {p}_z128, {weight_zero_point})",
        f"{p}_al = MatMulInteger({low}, {weight}, {p}_z0, {weight_zero_point})",
        f"{p}_ah256 = Mul({p}_ah, {p}_256)",
        f"{p}_acc = Add({p}_ah256, {p}_al)",
    ]
    return [line.replace(", )", ")") for line in lines], f"{p}_acc"


def bytes_of(prefix: str, x: str) -> tuple[list[str], str, str]:
    """int16 values as two uint8 tensors, x = 256 (high - 128) + low, and their names.

    Defines ``{prefix}_256``, int32, and the zero points ``{prefix}_z128`` and ``{prefix}_z0``, uint8, too.
    """
    p = prefix
    lines = [
        f"{p}_x32 = Cast<to = {INT32}>({x})",
        f"{p}_off = Constant<value = int32 {{32768}}>()",
        f"{p}_e = Add({p}_x32, {p}_off)",
        f"{p}_256 = Constant<value = int32 {{256}}>()",
        f"{p}_hi32 = Div({p}_e, {p}_256)",
        f"{p}_hi = Cast<to = {UINT8}>({p}_hi32)",
        f"{p}_lo = Cast<to = {UINT8}>({p}_e)",
        f"{p}_z128 = Constant<value = uint8 {{128}}>()",
        f"{p}_z0 = Constant<value = uint8 {{0}}>()",
    ]
    return lines, f"{p}_hi", f"{p}_lo"


def digit_constants(low_bits: int) -> list[str]:
    """What :func:`digits` and :func:`joined` read."""
    base = 1 << low_bits
    return [
        f"digit_sizes = Constant<value = int32[2, 1] {{{base}, 1}}>()",
        f"digit_places = Constant<value = int32[1, 2] {{{base}, 1}}>()",
        *constant("digit_mask", "uint8", base - 1),
    ]


def digits(result: str, code: str, low_bits: int, *, sizes: str = "digit_sizes") -> list[str]:
    """Codes ``[B, 1, H]``, int32 and not negative, as two rows of uint8 ``[B, 2, H]``: code / 2^low_bits, and the rest.

    ``sizes`` are the divisors of both rows: a code that is a quotient itself need not be made.
    """
    if low_bits == 8:
        # The cast drops what stands above 8 bits.
        return [f"{result}_quotient = Div({code}, {sizes})", f"{result} = Cast<to = {UINT8}>({result}_quotient)"]
    return [
        f"{result}_quotient = Div({code}, {sizes})",
        f"{result}_byte = Cast<to = {UINT8}>({result}_quotient)",
        f"{result} = BitwiseAnd({result}_byte, digit_mask)",
    ]


def joined(result: str, rows: str) -> list[str]:
    """The sum of both rows, int32, each times what its digit counts."""
    return [f"{result} = MatMul(digit_places, {rows})"]


LOOK_UP_FLAT = 256
"""From so many elements on GatherElements of a flat index, with the two Reshapes it needs, is faster than Gather."""


def look_up(result: str, table: str, index: str, *, shape: str | None) -> list[str]:
    """Entries of a table ``[N]`` by an index of any shape.

    onnxruntime's Gather copies entry by entry, 4 ns each; GatherElements takes a third of that, but an index of the table's
    rank.

    Args:
        result: the name of the entries.
        table, index: names.
        shape: the name of the index's shape, int64, where GatherElements shall be used; None for Gather.
    """
    if shape is None:
        return [f"{result} = Gather<axis = 0>({table}, {index})"]
    return [
        f"{result}_index = Reshape({index}, flat)",
        f"{result}_flat = GatherElements<axis = 0>({table}, {result}_index)",
        f"{result} = Reshape({result}_flat, {shape})",
    ]
