"""FastRNN for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


@tflite_operator("FastRNN")
def fast_rnn(site: Site) -> None:
    """alpha act in a table, beside the kept state."""
    attributes = site.attributes
    recalled = Recalled.of(site)
    table = Table.with_lines(site.constant("added_table"), 2**LARGEST_TABLE_BITS)
    bias, shifts = site.constant("bias"), site.constant("index_shift")
    drive = site.code.add(driven(site), index_constant(recalled, bias, shifts, table.size))
    tables = LookUps(site.code, drive, {"added": table})

    def step(code: Code, now: Mapping[str, Value], row: Value) -> Mapping[str, Value]:
        sums = code.add(recalled.sums(code, now["h"]), row, rectified=True)
        added = tables.entries(code, now, "added", table_index(code, sums, shifts, table.size, rectified=True))
        centred = code.subtract(now["h"], attributes["h_zero_point"])
        kept = code.multiply(centred, attributes["kept"] << attributes["state_shift"])
        return {"h": next_state(site, code, code.add(added, kept))}

    run_layer(site, drive, ("h",), step, tables)
