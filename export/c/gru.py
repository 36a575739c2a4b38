"""GRU in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.gates import (
    add_runs,
    copy_state,
    driven_part,
    gate_product,
    look_up,
    moved,
    of_rows,
    start,
    state_update,
    table_index,
    table_size,
)
from qdeploy.export.c.requantization import requantize_runs
from qdeploy.runtime.ops.gru import DRIVE_LIMIT

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("GRU")
def gru(site: Site) -> None:
    """One step, or all steps of a whole sequence: one product for each weight, then gates, candidate and state."""
    attributes, multiplier, shift = site.attributes, site.constant("multiplier"), site.attributes["shift"]
    x, h = site.input("x"), site.state("h")
    y = site.output("y") if site.whole and site.has("y") else None
    hidden = h.entries
    driven = gate_product(site, "input_weight", x, attributes["x_zero_point"], 3)
    recurrent = gate_product(site, "recurrent_weight", h, attributes["h_zero_point"], 3)
    u, a = site.scratch("driven", "int32", driven.size), site.scratch("recurrent", "int32", recurrent.size)
    gates, candidate = site.scratch("gates", "int16", 2 * hidden), site.scratch("candidate", "int16", hidden)
    readable = driven.readable(site, x)
    gate_rows, candidate_rows = of_rows(recurrent.runs, 0, 2 * hidden), of_rows(recurrent.runs, 2 * hidden, hidden)
    site.comment = "r, z = sigmoid(W h + U x + b); n = tanh(r (W h + c) + U x + b); h = (1 - z) n + z h"
    with site.steps_loop() as step:
        site.remark("u = U x + b, at the scale of W h")
        here = readable(site.at(x.name, step, x.entries))
        driven_part(site, driven, u, here, site.constant("bias"), low=-DRIVE_LIMIT, high=DRIVE_LIMIT)
        site.remark("a = W h; of the candidate's rows, + c")
        start(site, recurrent, a, np.pad(site.constant("recurrent_bias"), (2 * hidden, 0)), "recurrent_bias")
        site.line(recurrent.call(a, h.name))
        site.remark("r, z = sigmoid(a + u)")
        add_runs(site, a, gate_rows, u, of_rows(driven.runs, 0, 2 * hidden))
        table_index(site, gates, a, gate_rows, multiplier[: 2 * hidden], shift, argument="sigmoid_table")
        look_up(site, gates, gates, "sigmoid_table", 2 * hidden)
        site.remark("n = tanh(r a + u)")
        requantize_runs(
            site,
            candidate,
            np.dtype(np.int16),
            a,
            candidate_rows,
            multiplier=multiplier[2 * hidden :],
            shift=shift,
            zero_point=0,
            low=-(2**15),
            high=2**15 - 1,
            hint="candidate_multiplier",
        )
        for run in of_rows(driven.runs, 2 * hidden, hidden):
            values = moved(candidate, run.first)
            site.line(
                f"{site.kernel('gated_index')}({values}, {moved(gates, run.first)}, {values}, {moved(u, run.place)}, "
                f"{run.count}, {attributes['candidate_shift']}, {table_size(site, 'tanh_table')});"
            )
        look_up(site, candidate, candidate, "tanh_table", hidden)
        state_update(site, h, moved(gates, hidden), candidate)
        copy_state(site, y, step, h)
