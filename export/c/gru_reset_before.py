"""GRUResetBefore in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    state_type,
    state_update,
    table_index,
)
from qdeploy.export.c.site import Operand
from qdeploy.runtime.ops.gru_reset_before import DRIVE_LIMIT

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("GRUResetBefore")
def gru_reset_before(site: Site) -> None:
    """One step, or all steps of a whole sequence: the recurrent weight's last third multiplies what the reset gate leaves."""
    attributes, multiplier, shift = site.attributes, site.constant("multiplier"), site.attributes["shift"]
    x, h = site.input("x"), site.state("h")
    y = site.output("y") if site.whole and site.has("y") else None
    hidden, zero_point = h.entries, attributes["h_zero_point"]
    driven = gate_product(site, "input_weight", x, attributes["x_zero_point"], 3)
    opening = gate_product(site, "recurrent_weight", h, zero_point, 2, rows=slice(2 * hidden))
    recalling = gate_product(site, "recurrent_weight", h, zero_point, 1, rows=slice(2 * hidden, None))
    u = site.scratch("driven", "int32", driven.size)
    a = site.scratch("recurrent", "int32", max(opening.size, recalling.size))
    gates, candidate = site.scratch("gates", "int16", 2 * hidden), site.scratch("candidate", "int16", hidden)
    part = Operand(site.scratch("part", h.tensor.dtype, max(hidden, recalling.reads)), h.tensor, slack=True)
    readable = driven.readable(site, x)
    site.comment = "r, z = sigmoid(W h + U x + b); n = tanh(W (r h) + U x + b); h = (1 - z) n + z h"
    with site.steps_loop() as step:
        site.remark("u = U x + b, at the scale of W h")
        here = readable(site.at(x.name, step, x.entries))
        driven_part(site, driven, u, here, site.constant("bias"), low=-DRIVE_LIMIT, high=DRIVE_LIMIT)
        site.remark("r, z = sigmoid(W h + u)")
        start(site, opening, a, 0 * opening.rest, "gates_start")
        site.line(opening.call(a, h.name))
        add_runs(site, a, list(opening.runs), u, of_rows(driven.runs, 0, 2 * hidden))
        table_index(site, gates, a, opening.runs, multiplier[: 2 * hidden], shift, argument="sigmoid_table")
        look_up(site, gates, gates, "sigmoid_table", 2 * hidden)
        site.remark("n = tanh(W (r h) + u)")
        site.line(
            f"{site.kernel(f'gated_state_{state_type(h)}')}({part.name}, {gates}, {h.name}, {hidden}, {zero_point}, "
            f"{attributes['low']}, {attributes['high']});"
        )
        start(site, recalling, a, 0 * recalling.rest, "candidate_start")
        site.line(recalling.call(a, part.name))
        add_runs(site, a, list(recalling.runs), u, of_rows(driven.runs, 2 * hidden, hidden))
        table_index(
            site,
            candidate,
            a,
            recalling.runs,
            multiplier[2 * hidden :],
            shift,
            argument="tanh_table",
            hint="candidate_multiplier",
        )
        look_up(site, candidate, candidate, "tanh_table", hidden)
        state_update(site, h, moved(gates, hidden), candidate)
        copy_state(site, y, step, h)
