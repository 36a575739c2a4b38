"""LiGRU for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.gru import mixed_state
from qdeploy.export.tflite.recurrence import driven, pieces, recurrent_product, rounded, run_layer
from qdeploy.export.tflite.requantization import requantize
from qdeploy.export.tflite.tables import LookUps, Table
from qdeploy.runtime.ops.ligru import DRIVE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value


@tflite_operator("LiGRU")
def ligru(site: Site) -> None:
    """Candidate and update gate of one product."""
    attributes = site.attributes
    product = recurrent_product(site)
    multiplier, shift = site.constant("multiplier"), attributes["shift"]
    sigmoid = Table.of(site, "sigmoid_table")
    drive = driven(site, bias=site.constant("bias"), limit=DRIVE_LIMIT)
    used = {"sigmoid": sigmoid}
    if site.has("candidate_table"):
        used["candidate"] = Table.of(site, "candidate_table")
    tables = LookUps(site.code, drive, used)

    def step(code: Code, now: Mapping[str, Value], row: Value) -> Mapping[str, Value]:
        digits = product.digits.split(code, now["h"])
        total = code.add(code.add(product.of_digits(code, digits), product.rest), row)
        rows = requantize(code, total, multiplier, shift, 0, -(2**15), 2**15 - 1)
        wide, gate = pieces(code, rows, 2)
        place = rounded(code, gate, attributes["gate_shift"], sigmoid.half, 0, sigmoid.size - 1, bound=2**15)
        update = tables.entries(code, now, "sigmoid", place)
        if site.has("candidate_table"):
            candidate = tables.entries(code, now, "candidate", _candidate_index(site, code, wide, used["candidate"]))
        else:
            candidate = _rectified(site, code, wide)
        h = mixed_state(site, code, update, candidate, now["h"])
        # A rectifier's candidate may lie far beyond the states.
        return {"h": code.clip(h, attributes["low"], attributes["high"])}

    run_layer(site, drive, ("h",), step, tables)


def _candidate_index(site: Site, code: Code, wide: Value, table: Table) -> Value:
    """Where tanh's table has the candidate."""
    factor, shift = np.array([site.attributes["candidate_multiplier"]]), site.attributes["candidate_shift"]
    return requantize(code, wide, factor, shift, table.half, 0, table.size - 1, bound=2**15)


def _rectified(site: Site, code: Code, wide: Value) -> Value:
    """A candidate of a rectifier with a slope below 0."""
    attributes = site.attributes
    factor, shift = np.array([attributes["candidate_multiplier"]]), attributes["candidate_shift"]
    # What is below -2^31 has a slope's part below -2^15 as well, or a slope of 0.
    scaled = requantize(code, wide, factor, shift, 0, -(2**30), 2**30, bound=2**15)
    slope = np.array([attributes["slope"]])
    leaking = requantize(code, scaled, slope, 15, 0, -(2**30), 2**30, bound=2**30)
    return code.clip(code.maximum(scaled, leaking), -(2**15), 2**15 - (1 << attributes["state_shift"]))
