"""LSTM for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.recurrence import driven, look_up, pieces, recurrent_product, rounded, run_layer
from qdeploy.export.tflite.requantization import requantize
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
    left = attributes["recurrent_shift"]
    constant = site.constant("bias").astype(np.int64) + (product.rest << left)
    drive = code.add(driven(site), constant)
    multiplier, shift = site.constant("multiplier"), attributes["shift"]
    gate, candidate, cell = (site.constant(f"{name}_table") for name in ("gate", "candidate", "cell"))

    def step(inner: Code, now: Mapping[str, Value], row: Value) -> Mapping[str, Value]:
        digits = product.digits.split(inner, now["h"])
        total = inner.add(inner.multiply(product.of_digits(inner, digits), 1 << left), row)
        index = requantize(inner, total, multiplier, shift, gate.size // 2, 0, gate.size - 1)
        i, f, g, o = pieces(inner, index, 4)
        kept = inner.multiply(look_up(inner, gate, f), now["c"])
        added = inner.multiply(look_up(inner, gate, i), look_up(inner, candidate, g))
        c = rounded(inner, inner.add(kept, added), GATE_BITS, 0, CELL_LOW, CELL_HIGH, bound=2**30)
        place = rounded(inner, c, attributes["cell_shift"], cell.size // 2, 0, cell.size - 1, bound=2**15)
        shown = inner.multiply(look_up(inner, gate, o), look_up(inner, cell, place))
        low, high = attributes["low"], attributes["high"]
        h = rounded(inner, shown, attributes["output_shift"], attributes["h_zero_point"], low, high, bound=2**29)
        return {"h": h, "c": c}

    run_layer(site, drive, ("h", "c"), step)
