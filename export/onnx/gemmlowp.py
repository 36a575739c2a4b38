"""gemmlowp's logistic function and tanh of all 16-bit integers, as integer operators that runtimes fold at load.

One chain computes all tables, a row each: what they share is exp(-|x|), where x has other integer bits in each. Whatever
is divided is not negative, whole multiples being added first, so that it does not matter how Div rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from qdeploy.runtime.gemmlowp import (
    EXP_OF_EIGHTH,
    EXPONENTIALS,
    LOGISTIC_INTEGER_BITS,
    MAX_INTEGER_BITS,
    NEWTON_SLOPE,
    NEWTON_START,
    NEWTON_STEPS,
    ONE,
    THIRD,
)
from qdeploy.runtime.ops.lstm_8x8x16 import CANDIDATE_INTEGER_BITS

__all__ = ["activation_tables"]

_LIFT = 2**30
"""Added before a division; a multiple of every divisor, and more than what any dividend is below 0."""

_NEVER = 2**30
"""A divisor that leaves nothing, and a bound that nothing reaches."""


class _Chain:
    """Lines, each with a name of its own; operands are names or numbers, int32."""

    def __init__(self, prefix: str) -> None:
        self.lines: list[str] = []
        self._prefix = prefix
        self._constants: dict[tuple[int, ...], str] = {}

    def constant(self, *values: int) -> str:
        """A scalar, or a column ``[N, 1]`` with a number for each row."""
        if values not in self._constants:
            kind = "int32" if len(values) == 1 else f"int32[{len(values)}, 1]"
            self._constants[values] = self.line(f"Constant<value = {kind} {{{', '.join(map(str, values))}}}>()")
        return self._constants[values]

    def op(self, kind: str, *operands: str | int) -> str:
        """The result of an operator."""
        names = [self.constant(operand) if isinstance(operand, int) else operand for operand in operands]
        return self.line(f"{kind}({', '.join(names)})")

    def floor(self, x: str, divisor: int) -> str:
        """x by a divisor, rounded down."""
        quotient = self.op("Div", self.op("Add", x, _LIFT), divisor)
        return self.op("Sub", quotient, _LIFT // divisor)

    def product(self, a: str, b: str | int) -> str:
        """a b / 2^15, half up, saturated."""
        return self.saturated(self.floor(self.op("Add", self.op("Mul", a, b), 2**14), 2**15))

    def half_away(self, x: str, divisor: int) -> str:
        """x / divisor, ties away from zero."""
        whole = self.op("Div", self.op("Add", self.op("Abs", x), divisor // 2), divisor)
        return self.op("Mul", whole, self.op("Sign", x))

    def saturated(self, x: str) -> str:
        """Within int16."""
        return self.op("Clip", x, -(2**15), ONE)

    def chosen(self, flag: str, yes: str, no: str) -> str:
        """``yes`` where the flag is 1, ``no`` where it is 0."""
        return self.op("Add", no, self.op("Mul", flag, self.op("Sub", yes, no)))

    def flag(self, x: str) -> str:
        """1 where x is positive, else 0."""
        return self.op("Clip", x, 0, 1)

    def line(self, text: str) -> str:
        """The result of this text."""
        name = f"{self._prefix}_{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return name


def activation_tables(prefix: str, cell_integer_bits: int) -> tuple[list[str], str]:
    """Lines, and the name of their result: int32 ``[3, 2^16]``.

    Its rows are logistic and tanh of 3 integer bits, and tanh of ``cell_integer_bits``; entry i is that of i - 2^15. Both
    functions of -x follow from those of x.
    """
    chain = _Chain(prefix)
    size = chain.op("Range", 0, 2**15 + 1, 1)
    bits = (LOGISTIC_INTEGER_BITS, CANDIDATE_INTEGER_BITS + 1, cell_integer_bits + 1)
    exp = _exp_of_negative(chain, chain.op("Sub", 0, size), bits)
    reciprocal = _reciprocal(chain, exp)
    # 2 / (1 + e) has 13 fractional bits: half of it is the logistic function, and less 1 it is tanh.
    less = chain.op("Sub", reciprocal, chain.constant(0, 2**13, 2**13))
    of_size = chain.saturated(chain.op("Mul", less, chain.constant(2, 4, 4)))
    table = chain.chosen(chain.flag(size), of_size, chain.constant(2**14, 0, 0))
    upward = chain.op("Range", 0, 2**15, 1)
    downward = chain.op("Sub", 2**15, upward)
    below = chain.line(f"Gather<axis = 1>({table}, {downward})")
    mirrored = chain.op("Sub", chain.constant(ONE, 0, 0), below)
    above = chain.line(f"Gather<axis = 1>({table}, {upward})")
    whole = chain.line(f"Concat<axis = 1>({mirrored}, {above})")
    return chain.lines, whole


def _exp_of_negative(chain: _Chain, x: str, integer_bits: Sequence[int]) -> str:
    """exp(x) of x <= 0, a row for each number of integer bits."""
    quarters = chain.constant(*(2 ** (13 - bits) for bits in integer_bits))
    below = chain.op("Sub", chain.op("Mod", x, quarters), quarters)
    result = _exp_of_eighths(chain, chain.op("Mul", below, chain.constant(*(2**bits for bits in integer_bits))))
    left = chain.op("Sub", below, x)
    for power, factor in EXPONENTIALS.items():
        steps = [2 ** (15 - bits + power) if power < bits else _NEVER for bits in integer_bits]
        if min(steps) == _NEVER:
            continue
        taken = chain.op("Mod", chain.op("Div", left, chain.constant(*steps)), 2)
        result = chain.chosen(taken, chain.product(result, factor), result)
    ends = [2 ** (20 - bits) if bits >= MAX_INTEGER_BITS else _NEVER for bits in integer_bits]
    if min(ends) < _NEVER:
        inside = chain.flag(chain.op("Add", x, chain.constant(*(end + 1 for end in ends))))
        result = chain.op("Mul", inside, result)
    return chain.chosen(chain.flag(chain.op("Abs", x)), result, chain.constant(ONE))


def _exp_of_eighths(chain: _Chain, x: str) -> str:
    """exp(x) for -1/4 <= x < 0."""
    away = chain.op("Add", x, 2**12)
    square = chain.product(away, away)
    cube, fourth = chain.product(square, away), chain.product(square, square)
    higher = chain.product(chain.op("Add", chain.half_away(fourth, 4), cube), THIRD)
    terms = chain.half_away(chain.op("Add", higher, square), 2)
    return chain.saturated(chain.op("Add", chain.product(chain.op("Add", away, terms), EXP_OF_EIGHTH), EXP_OF_EIGHTH))


def _reciprocal(chain: _Chain, x: str) -> str:
    """2 / (1 + x) with 13 fractional bits."""
    denominator = chain.op("Div", chain.op("Add", x, ONE + 1), 2)
    found = chain.op("Add", chain.product(denominator, NEWTON_SLOPE), NEWTON_START)
    for _ in range(NEWTON_STEPS):
        missing = chain.op("Sub", 2**13, chain.product(denominator, found))
        step = chain.op("Mul", chain.product(found, missing), 4)
        found = chain.op("Add", found, chain.saturated(step))
    return found
