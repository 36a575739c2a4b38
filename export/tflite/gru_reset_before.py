"""GRUResetBefore for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.gru import mixed_state, moved_by_zero_point
from qdeploy.export.tflite.product import Digits, MatrixProduct
from qdeploy.export.tflite.recurrence import driven, pieces, rounded, run_layer
from qdeploy.export.tflite.requantization import requantize
from qdeploy.export.tflite.tables import LookUps, Table
from qdeploy.runtime.ops.gru_reset_before import DRIVE_LIMIT, GATE_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value


@tflite_operator("GRUResetBefore")
def gru_reset_before(site: Site) -> None:
    """The gates' product, then that of what the reset gate leaves of the state."""
    attributes = site.attributes
    weight, zero_point = site.constant("recurrent_weight"), attributes["h_zero_point"]
    hidden = weight.shape[1]
    gates = MatrixProduct.of(weight[: 2 * hidden], site.kind("h0"), zero_point)
    # r h has the state's range around 0, whatever its zero point: digits of 16 bits hold it.
    inner_digits = Digits.of(np.dtype(np.int16))
    candidate = MatrixProduct.of(weight[2 * hidden :], np.dtype(np.int16), 0)
    multiplier, shift = site.constant("multiplier"), attributes["shift"]
    sigmoid = Table.of(site, "sigmoid_table")
    tanh, inside = moved_by_zero_point(site, Table.of(site, "tanh_table"))
    low, high = attributes["low"] - zero_point, attributes["high"] - zero_point
    drive = driven(site, bias=site.constant("bias"), limit=DRIVE_LIMIT)
    tables = LookUps(site.code, drive, {"sigmoid": sigmoid, "tanh": tanh})

    def step(code: Code, now: Mapping[str, Value], row: Value) -> Mapping[str, Value]:
        digits = gates.digits.split(code, now["h"])
        before = code.add(gates.of_digits(code, digits), gates.rest)
        before = code.add(before, code.slice(row, [0, 0], [-1, 2 * hidden]))
        index = requantize(code, before, multiplier[: 2 * hidden], shift, sigmoid.half, 0, sigmoid.size - 1)
        r, z = pieces(code, tables.entries(code, now, "sigmoid", index), 2)
        kept = rounded(
            code, code.multiply(r, code.subtract(now["h"], zero_point)), GATE_BITS, 0, low, high, bound=2**30
        )
        total = code.add(candidate.of_digits(code, inner_digits.split(code, kept)), candidate.rest)
        total = code.add(total, code.slice(row, [0, 2 * hidden], [-1, hidden]))
        place = requantize(code, total, multiplier[2 * hidden :], shift, tanh.half, 0, tanh.size - 1)
        candidates = tables.entries(code, now, "tanh", place)
        return {"h": mixed_state(site, code, z, candidates, now["h"], inside=inside)}

    run_layer(site, drive, ("h",), step, tables)
