"""The contract once more, in Python's own integers: nothing of the runtime is used, nothing can overflow."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[Any]
"""Arrays of Python integers (``dtype=object``) or of NumPy's."""


def requantized(
    accumulator: Integers, multiplier: Integers, shift: int, zero_point: int, low: int, high: int
) -> Integers:
    """clip(floor((acc M + 2^(s-1)) / 2^s) + z, low, high): Python's // is the floor."""
    wide = accumulator.astype(object) * multiplier.astype(object)
    rounded = (wide + ((1 << shift) >> 1)) // (1 << shift) + zero_point
    clipped: Integers = np.minimum(np.maximum(rounded, low), high)
    return clipped


def half_even(
    accumulator: Integers, multiplier: Integers, shift: int, zero_point: int, low: int, high: int
) -> Integers:
    """clip(acc M / 2^s to the nearest integer, ties to even, + z, low, high): Python rounds fractions so."""
    wide = accumulator.astype(object) * multiplier.astype(object)
    rounded = np.vectorize(lambda value: round(Fraction(value, 1 << shift)), otypes=[object])(wide) + zero_point
    clipped: Integers = np.minimum(np.maximum(rounded, low), high)
    return clipped


def linear(x: Integers, w: Integers, b: Integers, x_zero_point: int) -> Integers:
    """W (x - z) + b."""
    product: Integers = (x.astype(object) - x_zero_point).dot(w.T.astype(object)) + b.astype(object)
    return product


def convolved(
    x: Integers, w: Integers, strides: list[int], pads: list[int], dilations: list[int], group: int, x_zero_point: int
) -> Integers:
    """The sums of the contract, number by number, in Python's integers: ``[B, N, *out]``."""
    rank = w.ndim - 2
    sizes = x.shape[2:]
    out = [
        (sizes[a] + pads[a] + pads[rank + a] - dilations[a] * (w.shape[2 + a] - 1) - 1) // strides[a] + 1
        for a in range(rank)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *out), object)
    per_group = w.shape[0] // group
    for b, n in itertools.product(range(x.shape[0]), range(w.shape[0])):
        for place in itertools.product(*map(range, out)):
            total = 0
            for c, tap in itertools.product(range(w.shape[1]), itertools.product(*map(range, w.shape[2:]))):
                at = [place[a] * strides[a] + tap[a] * dilations[a] - pads[a] for a in range(rank)]
                if all(0 <= at[a] < sizes[a] for a in range(rank)):
                    total += int(w[(n, c, *tap)]) * (int(x[(b, n // per_group * w.shape[1] + c, *at)]) - x_zero_point)
            y[(b, n, *place)] = total
    return y


def modrelu(value: int, bias: int) -> int:
    """sgn(a) max(|a| + b, 0)."""
    return (value > 0) * max(value + bias, 0) - (value < 0) * max(-value + bias, 0)


def hamilton_product(w: Sequence[int], x: Sequence[int]) -> list[int]:
    """The product of two quaternions, from i^2 = j^2 = k^2 = ijk = -1."""
    # Index of the unit and sign of the product of unit a with unit b, units 1, i, j, k.
    units = [
        [(0, 1), (1, 1), (2, 1), (3, 1)],
        [(1, 1), (0, -1), (3, 1), (2, -1)],
        [(2, 1), (3, -1), (0, -1), (1, 1)],
        [(3, 1), (2, 1), (1, -1), (0, -1)],
    ]
    result = [0, 0, 0, 0]
    for a in range(4):
        for b in range(4):
            unit, sign = units[a][b]
            result[unit] += sign * int(w[a]) * int(x[b])
    return result


def recurrence(
    x: Integers,
    h0: Integers,
    constants: dict[str, Integers],
    attributes: dict[str, Any],
) -> Integers:
    """Every state of the recurrent layer, unit by unit: ``[T, B, H]``."""
    u, w, bias = (constants[name].astype(object) for name in ("u", "w", "b"))
    x_zero_point, zero_point = attributes["x_zero_point"], attributes["h_zero_point"]
    multiplier = np.broadcast_to(constants["m"].astype(object), bias.shape)
    input_multiplier = constants.get("input_multiplier")
    held, states = h0.astype(object), []
    for given in x.astype(object):
        driven = (given - x_zero_point).dot(u.T)
        if input_multiplier is None:
            driven = driven * 2 ** attributes["input_shift"]
        else:
            driven = requantized(driven, input_multiplier, attributes["input_shift"], 0, -(2**31), 2**31 - 1)
        accumulator = (held - zero_point).dot(w.T) * 2 ** attributes["recurrent_shift"] + driven + bias
        if attributes["activation"] == "relu":
            accumulator = np.maximum(accumulator, 0)
        elif attributes["activation"] == "modrelu":
            accumulator = np.array(
                [
                    [modrelu(a, b) for a, b in zip(row, constants["rectifier"].tolist(), strict=True)]
                    for row in accumulator
                ],
                object,
            )
        if attributes["activation"] == "table":
            table = constants["table"]
            index = requantized(accumulator, multiplier, attributes["shift"], table.size // 2, 0, table.size - 1)
            held = table[index.astype(int)].astype(object)
        else:
            held = requantized(
                accumulator, multiplier, attributes["shift"], zero_point, attributes["low"], attributes["high"]
            )
        states.append(held)
    return np.array(states, object)


def gated_recurrence(
    x: Integers,
    h0: Integers,
    constants: dict[str, Integers],
    attributes: dict[str, Any],
) -> Integers:
    """Every state of a layer of GRU, ``[T, B, H]``: the equations of its contract, in order."""
    u, w, bias, recurrent_bias, m = (constants[name].astype(object) for name in ("u", "w", "b", "c", "m"))
    sigmoids, tanhs = (constants[name].astype(object) for name in ("sigmoid", "tanh"))
    zero_point, hidden = attributes["h_zero_point"], h0.shape[1]
    lift, shift = 2 ** attributes["state_shift"], attributes["shift"]
    held, states = h0.astype(object), []
    for given in x.astype(object):
        summed = (given - attributes["x_zero_point"]).dot(u.T) + bias
        driven = requantized(summed, constants["input_m"], attributes["input_shift"], 0, -(2**29), 2**29)
        recurrent = (held - zero_point).dot(w.T)
        gates = []
        for place in (slice(0, hidden), slice(hidden, 2 * hidden)):
            index = requantized(
                recurrent[:, place] + driven[:, place], m[place], shift, sigmoids.size // 2, 0, sigmoids.size - 1
            )
            gates.append(sigmoids[index.astype(int)])
        reset, update = gates
        recalled = requantized(
            recurrent[:, 2 * hidden :] + recurrent_bias, m[2 * hidden :], shift, 0, -(2**15), 2**15 - 1
        )
        index = requantized(
            reset * recalled + driven[:, 2 * hidden :],
            np.array([1], object),
            attributes["candidate_shift"],
            tanhs.size // 2,
            0,
            tanhs.size - 1,
        )
        mixed = (2**15 - update) * tanhs[index.astype(int)] + update * (held - zero_point) * lift
        held = (mixed + 2**14 * lift) // (2**15 * lift) + zero_point
        states.append(held)
    return np.array(states, object)


def reset_before_recurrence(
    x: Integers,
    h0: Integers,
    constants: dict[str, Integers],
    attributes: dict[str, Any],
) -> Integers:
    """Every state of a layer of GRUResetBefore, ``[T, B, H]``: the equations of its contract, unit by unit."""
    u, w, bias, m = (constants[name].astype(object) for name in ("u", "w", "b", "m"))
    tables = constants["sigmoid"].tolist(), constants["tanh"].tolist()
    zero_point, hidden, lift = attributes["h_zero_point"], h0.shape[1], 2 ** attributes["state_shift"]

    def rounded(value: int, shift: int) -> int:
        return (value + ((1 << shift) >> 1)) // (1 << shift)

    def entry(entries: list[int], total: int, row: int) -> int:
        index = rounded(total * m[row], attributes["shift"]) + len(entries) // 2
        return entries[min(len(entries) - 1, max(0, index))]

    held, states = h0.astype(object) - zero_point, []
    for given in x.astype(object):
        summed = (given - attributes["x_zero_point"]).dot(u.T) + bias
        driven = requantized(summed, constants["input_m"], attributes["input_shift"], 0, -(2**29), 2**29)
        after = held.copy()
        for sequence, state in enumerate(held):
            gates = [entry(tables[0], int(w[row].dot(state)) + driven[sequence, row], row) for row in range(2 * hidden)]
            left = np.array([rounded(gates[unit] * state[unit], 15) for unit in range(hidden)], object)
            for unit in range(hidden):
                row = 2 * hidden + unit
                candidate = entry(tables[1], int(w[row].dot(left)) + driven[sequence, row], row)
                mixed = (2**15 - gates[hidden + unit]) * candidate + gates[hidden + unit] * state[unit] * lift
                after[sequence, unit] = rounded(mixed, 15 + attributes["state_shift"])
        held = after
        states.append(held + zero_point)
    return np.array(states, object)


def light_gated_recurrence(
    x: Integers,
    h0: Integers,
    constants: dict[str, Integers],
    attributes: dict[str, Any],
) -> Integers:
    """Every state of a layer of LiGRU, ``[T, B, H]``, unit by unit: the equations of its contract, in order."""
    u, w, bias = (constants[name].astype(object) for name in ("u", "w", "b"))
    m = np.broadcast_to(constants["m"].astype(object), bias.shape)
    sigmoids = constants["sigmoid"].tolist()
    table = constants["candidate"].tolist() if "candidate" in constants else None
    zero_point, hidden, lift = attributes["h_zero_point"], h0.shape[1], 2 ** attributes["state_shift"]

    def rounded(value: int, shift: int) -> int:
        return (value + ((1 << shift) >> 1)) // (1 << shift)

    def entry(entries: list[int], index: int) -> int:
        return entries[min(len(entries) - 1, max(0, index + len(entries) // 2))]

    held, states = h0.astype(object), []
    for given in x.astype(object):
        summed = (given - attributes["x_zero_point"]).dot(u.T) + bias
        driven = requantized(summed, constants["input_m"], attributes["input_shift"], 0, -(2**29), 2**29)
        accumulator = (held - zero_point).dot(w.T) + driven
        rows = requantized(accumulator, m, attributes["shift"], 0, -(2**15), 2**15 - 1)
        after = held.copy()
        for place in np.ndindex(*held.shape):
            state = held[place] - zero_point
            gate = entry(sigmoids, rounded(rows[place[0], hidden + place[1]], attributes["gate_shift"]))
            scaled = rounded(rows[place] * attributes["candidate_multiplier"], attributes["candidate_shift"])
            if table is None:
                scaled = max(scaled, rounded(scaled * attributes["slope"], 15))
                candidate = min(2**15 - lift, max(-(2**15), scaled))
            else:
                candidate = entry(table, scaled)
            mixed = (2**15 - gate) * candidate + gate * state * lift
            state = rounded(mixed, 15 + attributes["state_shift"]) + zero_point
            after[place] = min(attributes["high"], max(attributes["low"], state))
        held = after
        states.append(held)
    return np.array(states, object)


def long_short_term_memory(
    feeds: dict[str, Integers], constants: dict[str, Integers], attributes: dict[str, Any]
) -> tuple[Integers, Integers]:
    """Every hidden and every cell state of an LSTM layer, sequence by sequence and unit by unit: ``[T, B, H]`` each."""
    u, w, bias = (constants[name].astype(object) for name in ("input_weight", "recurrent_weight", "bias"))
    multiplier = np.broadcast_to(constants["multiplier"].astype(object), bias.shape)
    tables = {name: constants[f"{name}_table"].tolist() for name in ("gate", "candidate", "cell")}
    hidden, zero_point = w.shape[1], attributes["h_zero_point"]
    held, cell = feeds["h0"].astype(object), feeds["c0"].astype(object)
    states, cells = [], []

    def rounded(value: int, shift: int) -> int:
        return (value + ((1 << shift) >> 1)) // (1 << shift)

    for given in feeds["x"].astype(object):
        driven = (given - attributes["x_zero_point"]).dot(u.T)
        driven = requantized(driven, constants["input_multiplier"], attributes["input_shift"], 0, -(2**31), 2**31 - 1)
        accumulator = (held - zero_point).dot(w.T) * 2 ** attributes["recurrent_shift"] + driven + bias
        size = len(tables["gate"])
        index = requantized(accumulator, multiplier, attributes["shift"], size // 2, 0, size - 1)
        held, cell = held.copy(), cell.copy()
        for sequence in range(len(index)):
            for unit in range(hidden):
                i, f, g, o = (int(index[sequence, gate * hidden + unit]) for gate in range(4))
                total = tables["gate"][i] * tables["candidate"][g] + tables["gate"][f] * cell[sequence, unit]
                c = min(max(rounded(total, 14), -(2**15)), 2**15 - 1)
                half = len(tables["cell"]) // 2
                place = min(max(rounded(c, attributes["cell_shift"]) + half, 0), 2 * half - 1)
                h = rounded(tables["gate"][o] * tables["cell"][place], attributes["output_shift"]) + zero_point
                cell[sequence, unit] = c
                held[sequence, unit] = min(max(h, attributes["low"]), attributes["high"])
        states.append(held)
        cells.append(cell)
    return np.array(states, object), np.array(cells, object)
