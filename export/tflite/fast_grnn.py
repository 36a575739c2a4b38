"""FastGRNN for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.fast_loop import Recalled, index_constant, next_state, table_index
from qdeploy.export.tflite.recurrence import driven, run_layer
from qdeploy.export.tflite.tables import LookUps, Table
from qdeploy.runtime.fast_loop import LARGEST_TABLE_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value


@tflite_operator("FastGRNN")
def fast_grnn(site: Site) -> None:
    """Gate and candidate of one pre-activation."""
    attributes = site.attributes
    recalled = Recalled.of(site)
    tables = {
        name: Table.with_lines(site.constant(f"{name}_table"), 2**LARGEST_TABLE_BITS)
        for name in ("gate", "added", "candidate")
    }
    size, hidden = tables["added"].size, len(site.constant("input_weight"))
    bias, shifts = (np.split(site.constant(name), [hidden]) for name in ("bias", "index_shift"))
    of_gate, of_candidate = (index_constant(recalled, *pair, size) for pair in zip(bias, shifts, strict=True))
    drive = site.code.add(driven(site), of_gate)
    look_ups = LookUps(site.code, drive, tables)

    def step(code: Code, now: Mapping[str, Value], row: Value) -> Mapping[str, Value]:
        sums = code.add(recalled.sums(code, now["h"]), row)
        gate = table_index(code, sums, shifts[0], size, rectified=False)
        moved = code.add(sums, of_candidate - of_gate, rectified=True)
        place = table_index(code, moved, shifts[1], size, rectified=True)
        centred = code.subtract(now["h"], attributes["h_zero_point"])
        apart = code.subtract(
            code.multiply(centred, 1 << attributes["state_shift"]), look_ups.entries(code, now, "candidate", place)
        )
        mixed = code.add(
            look_ups.entries(code, now, "added", place), code.multiply(look_ups.entries(code, now, "gate", gate), apart)
        )
        return {"h": next_state(site, code, mixed)}

    run_layer(site, drive, ("h",), step, look_ups)
