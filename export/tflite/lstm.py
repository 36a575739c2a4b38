"""LSTM for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.recurrence import driven, pieces, recurrent_product, rounded, run_layer
from qdeploy.export.tflite.requantization import folded_constant, requantize
from qdeploy.export.tflite.tables import LookUps, Table
from qdeploy.runtime.accumulator import recurrent_reach
from qdeploy.runtime.ops.lstm import CELL_HIGH, CELL_LOW, GATE_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value


@tflite_operator("LSTM")
def lstm(site: Site) -> None:
    """All four gates of one product; two states."""
    attributes, code = site.attributes, site.code
    product = recurrent_product(site)
    left, hidden = attributes["recurrent_shift"], product.weight.shape[1]
    constant = site.constant("bias").astype(np.int64) + (product.rest << left)
    multiplier, shift = site.constant("multiplier"), attributes["shift"]
    gate, candidate, cell = (Table.of(site, f"{name}_table") for name in ("gate", "candidate", "cell"))
    reach = recurrent_reach(
        recurrent_weight=product.weight,
        input_weight=site.constant("input_weight"),
        bias=site.constant("bias"),
        state=max(abs(attributes[name] - attributes["h_zero_point"]) for name in ("low", "high")),
        x=site.largest("x", attributes["x_zero_point"]),
        recurrent_shift=left,
        input_shift=attributes["input_shift"],
        input_multiplier=site.constant("input_multiplier"),
    )
    bound = min(int(np.max(reach)), 2**31 - 1)
    half = gate.half
    early = folded_constant(multiplier, shift, half, bound)
    drive = code.add(driven(site), constant + (early or 0))
    tables = LookUps(code, drive, {"gate": gate, "candidate": candidate, "cell": cell})

    def step(inner: Code, now: Mapping[str, Value], row: Value) -> Mapping[str, Value]:
        def look_up(name: str, place: Value) -> Value:
            return tables.entries(inner, now, name, place)

        digits = product.digits.split(inner, now["h"])
        recalled = inner.multiply(product.of_digits(inner, digits), 1 << left)
        total = inner.add(recalled, row, rectified=early is not None)
        index = requantize(
            inner, total, multiplier, shift, half, 0, gate.size - 1, bound=bound, folded=early is not None
        )
        # All four at once, though nobody reads the candidate's gate: one look-up takes less than three.
        i, f, _, o = pieces(inner, look_up("gate", index), 4)
        g = inner.slice(index, [0, 2 * hidden], [-1, hidden])
        kept = inner.multiply(f, now["c"])
        added = inner.multiply(i, look_up("candidate", g))
        c = rounded(inner, inner.add(kept, added), GATE_BITS, 0, CELL_LOW, CELL_HIGH, bound=2**30)
        place = rounded(inner, c, attributes["cell_shift"], cell.half, 0, cell.size - 1, bound=2**15)
        shown = inner.multiply(o, look_up("cell", place))
        low, high = attributes["low"], attributes["high"]
        h = rounded(inner, shown, attributes["output_shift"], attributes["h_zero_point"], low, high, bound=2**29)
        return {"h": h, "c": c}

    run_layer(site, drive, ("h", "c"), step, tables)
