"""LiGRU in C."""

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
    of_rows,
    start,
    state_update,
    table_index,
)
from qdeploy.export.c.product import Run
from qdeploy.export.c.requantization import requantize_runs
from qdeploy.runtime.ops.ligru import DRIVE_LIMIT

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("LiGRU")
def ligru(site: Site) -> None:
    """One step, or all steps of a whole sequence: one product for each weight, then candidate, gate and state."""
    attributes, multiplier = site.attributes, site.constant("multiplier")
    x, h = site.input("x"), site.state("h")
    y = site.output("y") if site.whole and site.has("y") else None
    hidden = h.entries
    driven = gate_product(site, "input_weight", x, attributes["x_zero_point"], 2)
    recurrent = gate_product(site, "recurrent_weight", h, attributes["h_zero_point"], 2)
    u, a = site.scratch("driven", "int32", driven.size), site.scratch("recurrent", "int32", recurrent.size)
    gate, candidate = site.scratch("gate", "int16", hidden), site.scratch("candidate", "int16", hidden)
    readable = driven.readable(site, x)
    of_candidate, of_gate = of_rows(recurrent.runs, 0, hidden), of_rows(recurrent.runs, hidden, hidden)
    table = site.has("candidate_table")
    one = np.ones(1, np.int32)
    sigma = "tanh" if table else "rectified"
    site.comment = f"n = {sigma}(W h + U x + b); z = sigmoid(W h + U x + b); h = (1 - z) n + z h"
    with site.steps_loop() as step:
        site.remark("u = U x + b, at the scale of W h")
        here = readable(site.at(x.name, step, x.entries))
        driven_part(site, driven, u, here, site.constant("bias"), low=-DRIVE_LIMIT, high=DRIVE_LIMIT)
        site.remark("a = W h + u, in 16 bits")
        start(site, recurrent, a, 0 * recurrent.rest, "recurrent_start")
        site.line(recurrent.call(a, h.name))
        add_runs(site, a, list(recurrent.runs), u, list(driven.runs))
        requantize_runs(
            site,
            a,
            np.dtype(np.int32),
            a,
            [Run(0, recurrent.size, 0)],
            multiplier=recurrent.arranged(multiplier) if multiplier.size > 1 else multiplier,
            shift=attributes["shift"],
            zero_point=0,
            low=-(2**15),
            high=2**15 - 1,
        )
        site.remark("z = sigmoid(a)")
        table_index(site, gate, a, of_gate, one, attributes["gate_shift"], argument="sigmoid_table", hint="one")
        look_up(site, gate, gate, "sigmoid_table", hidden)
        factor, shift = attributes["candidate_multiplier"], attributes["candidate_shift"]
        site.remark(f"n = {sigma}(a)")
        if table:
            table_index(
                site,
                candidate,
                a,
                of_candidate,
                factor * one,
                shift,
                argument="candidate_table",
                hint="candidate_multiplier",
            )
            look_up(site, candidate, candidate, "candidate_table", hidden)
        else:
            for run in of_candidate:
                site.line(
                    f"{site.kernel('rectified_candidate')}({site.at(candidate, str(run.first), 1)}, "
                    f"{site.at(a, str(run.place), 1)}, {run.count}, {factor}, {shift}, {attributes['slope']}, "
                    f"{2**15 - 2 ** attributes['state_shift']});"
                )
        state_update(site, h, gate, candidate)
        copy_state(site, y, step, h)
