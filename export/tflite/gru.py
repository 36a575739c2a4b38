"""GRU for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.recurrence import driven, look_up, pieces, recurrent_product, rounded, run_layer
from qdeploy.export.tflite.requantization import requantize
from qdeploy.runtime.ops.gru import DRIVE_LIMIT, GATE_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value

_MIX = 2**30
"""A gate's share of one 16-bit number and the rest of another: no larger than this."""


@tflite_operator("GRU")
def gru(site: Site) -> None:
    """r and z of one product with the candidate's; all is as the contract has it."""
    attributes = site.attributes
    product = recurrent_product(site)
    hidden = product.weight.shape[1]
    rest = product.rest.copy()
    rest[2 * hidden :] += site.constant("recurrent_bias")
    multiplier, shift = site.constant("multiplier"), attributes["shift"]
    sigmoid, tanh = site.constant("sigmoid_table"), site.constant("tanh_table")
    # What W's digits leave out of the gates' rows joins the input's part; the candidate's is under the reset gate.
    drive = driven(site, bias=site.constant("bias"), limit=DRIVE_LIMIT)

    def step(code: Code, now: Mapping[str, Value], row: Value) -> Mapping[str, Value]:
        digits = product.digits.split(code, now["h"])
        sums = code.add(product.of_digits(code, digits), rest)
        gates, candidate = code.slice(sums, [0, 0], [-1, 2 * hidden]), code.slice(sums, [0, 2 * hidden], [-1, hidden])
        gate_drive = code.slice(row, [0, 0], [-1, 2 * hidden])
        before = code.add(gates, gate_drive)
        index = requantize(code, before, multiplier[: 2 * hidden], shift, sigmoid.size // 2, 0, sigmoid.size - 1)
        r, z = pieces(code, look_up(code, sigmoid, index), 2)
        recalled = requantize(code, candidate, multiplier[2 * hidden :], shift, 0, -(2**15), 2**15 - 1)
        total = code.add(code.multiply(r, recalled), code.slice(row, [0, 2 * hidden], [-1, hidden]))
        place = rounded(code, total, attributes["candidate_shift"], tanh.size // 2, 0, tanh.size - 1)
        return {"h": mixed_state(site, code, z, look_up(code, tanh, place), now["h"])}

    run_layer(site, drive, ("h",), step)


def mixed_state(site: Site, code: Code, kept: Value, candidate: Value, h: Value) -> Value:
    """((2^15 - z) n + z (h - h_zero_point) 2^state_shift) / 2^(15 + state_shift) + h_zero_point, as the state's integer."""
    attributes = site.attributes
    zero_point, state_shift = attributes["h_zero_point"], attributes["state_shift"]
    centred = code.multiply(code.subtract(h, zero_point), 1 << state_shift)
    # n 2^15 + z (h - n): one product less.
    mixed = code.add(code.multiply(candidate, 1 << GATE_BITS), code.multiply(kept, code.subtract(centred, candidate)))
    return rounded(code, mixed, GATE_BITS + state_shift, zero_point, attributes["low"], attributes["high"], bound=_MIX)
