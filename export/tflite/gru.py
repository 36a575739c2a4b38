"""GRU for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.recurrence import driven, pieces, recurrent_product, rounded, run_layer
from qdeploy.export.tflite.requantization import folded_constant, requantize
from qdeploy.export.tflite.tables import LookUps, Table
from qdeploy.runtime.accumulator import gru_reach
from qdeploy.runtime.ops.gru import DRIVE_LIMIT, GATE_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray

_MIX = 2**30
"""A gate times 16 bits is no larger than this."""


@tflite_operator("GRU")
def gru(site: Site) -> None:
    """r and z of one product with the candidate's; all is as the contract has it."""
    attributes = site.attributes
    product = recurrent_product(site)
    hidden = product.weight.shape[1]
    rest = product.rest.copy()
    rest[2 * hidden :] += site.constant("recurrent_bias")
    multiplier, shift = site.constant("multiplier"), attributes["shift"]
    sigmoid = Table.of(site, "sigmoid_table")
    tanh, inside = moved_by_zero_point(site, Table.of(site, "tanh_table"))
    reach = gru_reach(
        recurrent_weight=product.weight,
        input_weight=site.constant("input_weight"),
        bias=site.constant("bias"),
        recurrent_bias=site.constant("recurrent_bias"),
        state=max(abs(attributes[name] - attributes["h_zero_point"]) for name in ("low", "high")),
        x=site.largest("x", attributes["x_zero_point"]),
        input_multiplier=site.constant("input_multiplier"),
        input_shift=attributes["input_shift"],
        drive_limit=DRIVE_LIMIT,
    )
    bound = min(int(np.max(reach)), 2**31 - 1)
    half = sigmoid.half
    early = folded_constant(multiplier[: 2 * hidden], shift, half, bound)
    # What W's digits leave out of the gates' rows joins the input's part; the candidate's is under the reset gate.
    outside = np.where(np.arange(3 * hidden) < 2 * hidden, rest + (early or 0), 0)
    drive = site.code.add(driven(site, bias=site.constant("bias"), limit=DRIVE_LIMIT), outside)
    tables = LookUps(site.code, drive, {"sigmoid": sigmoid, "tanh": tanh})

    def step(code: Code, now: Mapping[str, Value], row: Value) -> Mapping[str, Value]:
        sums = product.of_digits(code, product.digits.split(code, now["h"]))
        gates, candidate = code.split(sums, [2 * hidden, hidden], 1)
        gate_drive, candidate_drive = code.split(row, [2 * hidden, hidden], 1)
        index = requantize(
            code,
            code.add(gates, gate_drive, rectified=early is not None),
            multiplier[: 2 * hidden],
            shift,
            half,
            0,
            sigmoid.size - 1,
            bound=bound,
            folded=early is not None,
        )
        r, z = pieces(code, tables.entries(code, now, "sigmoid", index), 2)
        recalled = _recalled(code, candidate, rest[2 * hidden :], multiplier[2 * hidden :], shift, bound)
        total = code.add(code.multiply(r, recalled), candidate_drive)
        place = rounded(
            code, total, attributes["candidate_shift"], tanh.half, 0, tanh.size - 1, bound=_MIX + DRIVE_LIMIT
        )
        candidates = tables.entries(code, now, "tanh", place)
        return {"h": mixed_state(site, code, z, candidates, now["h"], inside=inside)}

    run_layer(site, drive, ("h",), step, tables)


def _recalled(code: Code, sums: Value, rest: IntArray, multiplier: IntArray, shift: int, bound: int) -> Value:
    """What the reset gate multiplies: the candidate's product with all constants, in 16 bits."""
    early = folded_constant(multiplier, shift, 0, bound)
    whole = code.add(sums, rest + (early or 0))
    return requantize(code, whole, multiplier, shift, 0, -(2**15), 2**15 - 1, bound=bound, folded=early is not None)


def moved_by_zero_point(site: Site, table: Table) -> tuple[Table, int]:
    """A table of candidates with the states' zero point in it where 32 bits hold it, and that zero point or 0.

    A table's entries are states, and so is what lies between two states: a mixture of both is not clipped.
    """
    attributes = site.attributes
    state_shift = attributes["state_shift"]
    step = 1 << (GATE_BITS + state_shift)
    fits = attributes["high"] * step + step < 2**31 and attributes["low"] * step >= -(2**31)
    inside = attributes["h_zero_point"] if fits else 0
    return table.moved(inside << state_shift), inside


def mixed_state(site: Site, code: Code, kept: Value, candidate: Value, h: Value, *, inside: int = 0) -> Value:
    """((2^15 - z) n + z (h - h_zero_point) 2^state_shift) / 2^(15 + state_shift) + h_zero_point, as the state's integer.

    Written as n' 2^15 + z (h' - n'): one product less.

    Args:
        site: the layer.
        code: where operators go.
        kept: z in Q0.15.
        candidate: n' = n + inside * 2^state_shift.
        h: the state before.
        inside: the part of the zero point that numbers keep; the rest is taken off and added again.
    """
    state_shift = site.attributes["state_shift"]
    outside = site.attributes["h_zero_point"] - inside
    apart = code.subtract(code.multiply(code.subtract(h, outside), 1 << state_shift), candidate)
    mixed = code.add(code.multiply(candidate, 1 << GATE_BITS), code.multiply(kept, apart))
    half = 1 << (GATE_BITS + state_shift - 1)
    return code.add(code.shift_right(code.add(mixed, half), GATE_BITS + state_shift), outside)
