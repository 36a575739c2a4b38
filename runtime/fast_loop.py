"""What the loops of FastRNN and FastGRNN share: one pre-activation, looked up in tables, beside a kept state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.accumulator import INT32_REACH, product_reach, recurrent_reach
from qdeploy.runtime.numeric import IntArray, exact_matmul, product_bound, product_type, requantize
from qdeploy.runtime.straight_lines import on_straight_lines

if TYPE_CHECKING:
    from qdeploy.runtime.ops.operator import Node

GATE_BITS = 14
"""Fractional bits of a gate and of the kept part: 2^14 is 1."""

FACTOR_ZERO_POINT = 128
"""Of the product with the first factor of a recurrent weight of low rank, which is uint8."""

LARGEST_TABLE_BITS = 12

_TABLE_SIZES = tuple(2**n for n in range(1, LARGEST_TABLE_BITS + 1))
_KNOTS = tuple(size + 1 for size in _TABLE_SIZES)


@dataclass(frozen=True)
class FastLoop:
    """Checked constants of one layer, in the types of exact products."""

    input: IntArray
    input_bound: int
    recurrent: IntArray
    recurrent_bound: int
    factor: IntArray | None
    factor_bound: int
    tables: dict[str, NDArray[np.int64]]

    @classmethod
    def checked(
        cls,
        node: Node,
        *,
        x: IntArray,
        x_zero_point: int,
        h_zero_point: int,
        low: int,
        high: int,
        input_weight: IntArray,
        recurrent_weight: IntArray,
        bias: IntArray,
        biases: int,
        input_multiplier: IntArray,
        input_shift: int,
        index_shift: IntArray,
        factor: IntArray | None,
        factor_shift: int,
        state_shift: int,
        tables: dict[str, IntArray],
        kept: int,
    ) -> FastLoop:
        """Checks the constants against the contract.

        Args:
            biases: how many pre-activations there are: 1, or 2 with a gate.
            tables: by name; all have one size, see ``table_entries``. ``added_table`` is int32.
            kept: the largest magnitude of a gate.

        Raises:
            ContractError: shapes, types, ranges; a sum that int32 cannot hold.
        """
        hidden = recurrent_weight.shape[0]
        rank = hidden if factor is None else factor.shape[0]
        for name, value, kind, shape in (
            ("recurrent_weight", recurrent_weight, np.int8, (hidden, rank)),
            ("input_weight", input_weight, np.int8, (hidden, None)),
            ("bias", bias, np.int32, (biases * hidden,)),
            ("index_shift", index_shift, np.int32, (biases * hidden,)),
        ):
            node.require_dtype(name, value, kind)
            node.require_shape(name, value, *shape)
        if factor is not None:
            node.require_dtype("factor", factor, np.int8)
            node.require_shape("factor", factor, rank, hidden)
        node.require_dtype("input_multiplier", input_multiplier, np.int32)
        node.require(
            input_multiplier.shape in ((1,), (hidden,)), f"input_multiplier has shape {list(input_multiplier.shape)}."
        )
        shifts = {
            "input_shift": (input_shift, 30),
            "factor_shift": (factor_shift, 30),
            "state_shift": (state_shift, 14),
        }
        for name, (found, most) in shifts.items():
            node.require(0 <= found <= most, f"{name} is {found}; expected 0 to {most}.")
        least, largest = int(index_shift.min()), int(index_shift.max())
        node.require(0 <= least <= largest <= 30, f"index_shift reaches from {least} to {largest}; expected 0 to 30.")
        sizes = {table.shape for table in tables.values()}
        node.require(
            len(sizes) == 1 and next(iter(sizes)) in [(size,) for size in _TABLE_SIZES + _KNOTS],
            f"its tables have the shapes {sorted(map(list, sizes))}; expected one size, 2^n or 2^n + 1, n from 1 to 12.",
        )
        for name, table in tables.items():
            node.require_dtype(name, table, np.int32 if name == "added_table" else np.int16)
        entries = {name: table_entries(table) for name, table in tables.items()}
        centred = max(abs(low - h_zero_point), abs(high - h_zero_point))
        pre = pre_activation_reach(
            input_weight=input_weight,
            recurrent_weight=recurrent_weight,
            bias=bias,
            x=max(x_zero_point, 255 - x_zero_point) if x.dtype == np.uint8 else 2**15,
            state=centred,
            input_multiplier=input_multiplier,
            input_shift=input_shift,
            index_shift=index_shift,
            factor=factor,
            factor_shift=factor_shift,
            size=entries["added_table"].size,
        )
        node.require(pre < INT32_REACH, f"a pre-activation could reach {pre}, more than int32 holds.")
        mixed = mix_reach(tables, kept, state=centred, offset=max(0, h_zero_point - low), state_shift=state_shift)
        node.require(mixed < INT32_REACH, f"a sum of states could reach {mixed}, more than int32 holds.")
        recurrent_bound = product_bound(recurrent_weight, centred if factor is None else 128)
        input_bound = product_bound(input_weight, max(x_zero_point, 255) if x.dtype == np.uint8 else 2**15)
        factor_bound = 0 if factor is None else product_bound(factor, centred)
        return cls(
            input=np.ascontiguousarray(input_weight.T.astype(product_type(input_bound))),
            input_bound=input_bound,
            recurrent=np.ascontiguousarray(recurrent_weight.T.astype(product_type(recurrent_bound))),
            recurrent_bound=recurrent_bound,
            factor=None if factor is None else np.ascontiguousarray(factor.T.astype(product_type(factor_bound))),
            factor_bound=factor_bound,
            tables=entries,
        )

    def driven(self, x: IntArray, x_zero_point: int, input_multiplier: IntArray, input_shift: int) -> IntArray:
        """u_t ``[B, H]`` of the input of one step."""
        product = exact_matmul(x.astype(np.int32) - x_zero_point, self.input, self.input_bound)
        return requantize(product, input_multiplier, input_shift)

    def recalled(self, centred: IntArray, factor_shift: int) -> IntArray:
        """W (h - z_h) ``[B, H]``, through the first factor where there is one."""
        if self.factor is None:
            return exact_matmul(centred, self.recurrent, self.recurrent_bound)
        product = exact_matmul(centred, self.factor, self.factor_bound)
        inner = requantize(product, 1, factor_shift, FACTOR_ZERO_POINT, 0, 255) - FACTOR_ZERO_POINT
        return exact_matmul(inner, self.recurrent, self.recurrent_bound)


def table_entries(table: IntArray) -> NDArray[np.int64]:
    """A table of 2^n entries as it is; of 2^n + 1, all 4096 entries of those on straight lines between its own.

    With d = 2^(12 - n), entry i d + k is t_i + floor(((t_(i+1) - t_i) k + d/2) / d) for 0 <= k < d; nothing is added for
    d = 1. The last of the table's own is where the last line would end.
    """
    if table.size in _TABLE_SIZES:
        return table.astype(np.int64)
    return on_straight_lines(table, 2**LARGEST_TABLE_BITS)


def table_index(sums: IntArray, index_shift: IntArray, size: int) -> IntArray:
    """floor((sums + 2^(e-1)) / 2^e) + size / 2, clipped to the table; e = 0 adds nothing."""
    shift = index_shift.astype(np.int64)
    rounded = (sums + ((np.int64(1) << shift) >> 1)) >> shift
    index: IntArray = np.clip(rounded + size // 2, 0, size - 1)
    return index


def pre_activation_reach(
    *,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    x: int,
    state: int,
    input_multiplier: IntArray,
    input_shift: int,
    index_shift: IntArray,
    factor: IntArray | None,
    factor_shift: int,
    size: int,
) -> int:
    """A bound of every sum before an index: of the pre-activation and, times 2^index_shift, half the table.

    Args:
        input_weight: ``[H, I]``.
        recurrent_weight: ``[H, H]``, or ``[H, R]`` behind a ``factor`` ``[R, H]``.
        bias, index_shift: ``[H]``, or ``[2H]`` with a gate.
        x, state: the largest |x - z_x| and |h - z_h|.
        size: of the tables.
    """
    hidden = len(input_weight)
    largest_bias = np.abs(bias.astype(np.int64)).reshape(-1, hidden).max(axis=0)
    reach = recurrent_reach(
        recurrent_weight=recurrent_weight,
        input_weight=input_weight,
        bias=largest_bias,
        state=state if factor is None else 128,
        x=x,
        recurrent_shift=0,
        input_shift=input_shift,
        input_multiplier=input_multiplier,
    )
    steps = (1 << index_shift.astype(np.int64)).reshape(-1, hidden).max(axis=0).astype(object)
    total = int((reach + steps * (size // 2 + 1)).max())
    if factor is None:
        return total
    inner = int(product_reach(factor, state).max()) + (2 * FACTOR_ZERO_POINT << factor_shift)
    return max(total, inner)


def mix_reach(tables: dict[str, IntArray], kept: int, *, state: int, offset: int, state_shift: int) -> int:
    """A bound of what is divided into the next state, ``A + z (h - B)``, moved above the lowest state, and of its parts.

    Args:
        tables: ``added_table`` (A) and, with a gate, ``candidate_table`` (B).
        kept: the largest |z|.
        state: the largest |h - z_h|.
        offset: z_h - low.
        state_shift: a; h counts 2^a, and what is divided is at 2^-14 of that.
    """
    added = tables["added_table"].astype(np.int64)
    candidate = tables.get("candidate_table", np.zeros(1, np.int16)).astype(np.int64)
    held = state << state_shift
    # Linear in z, so that an end of its range is the worst; A and B have one index.
    sums = max(int(np.abs(added).max()), int(np.abs(added - kept * candidate).max()) + kept * held)
    part = kept * (held + int(np.abs(candidate).max()))
    return max(part, sums + (1 << (GATE_BITS + state_shift)) * (offset + 1))


def next_state(sums: IntArray, state_shift: int, zero_point: int, low: int, high: int) -> NDArray[np.int64]:
    """floor((sums + half) / 2^(14 + a)) + z_h, clipped."""
    return requantize(sums, 1, GATE_BITS + state_shift, zero_point, low, high)
