"""FastGRNN for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.fast_loop import Recalled, next_state, table_index
from qdeploy.export.tflite.recurrence import driven, look_up, run_layer
from qdeploy.runtime.fast_loop import table_entries

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
    gates, candidates = (
        table_entries(site.constant(f"{name}_table")).astype(np.int16) for name in ("gate", "candidate")
    )
    added = table_entries(site.constant("added_table"))
    hidden = len(site.constant("input_weight"))
    bias, shifts = site.constant("bias"), site.constant("index_shift")

    def step(code: Code, now: Mapping[str, Value], row: Value) -> Mapping[str, Value]:
        sums = code.add(recalled.sums(code, now["h"]), row)
        gate = table_index(code, code.add(sums, bias[:hidden]), shifts[:hidden], added.size)
        place = table_index(code, code.add(sums, bias[hidden:]), shifts[hidden:], added.size)
        centred = code.subtract(now["h"], attributes["h_zero_point"])
        apart = code.subtract(code.multiply(centred, 1 << attributes["state_shift"]), look_up(code, candidates, place))
        mixed = code.add(code.gather(added, place), code.multiply(look_up(code, gates, gate), apart))
        return {"h": next_state(site, code, mixed)}

    run_layer(site, driven(site), ("h",), step)
