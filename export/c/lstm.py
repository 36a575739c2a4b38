"""LSTM in C."""

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
    start,
    state_type,
    table_index,
    table_size,
)

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("LSTM")
def lstm(site: Site) -> None:
    """One step, or all steps of a whole sequence: one product for each weight, then gates, cell and hidden state."""
    attributes = site.attributes
    x, h, c = site.input("x"), site.state("h"), site.state("c")
    y = site.output("y") if site.whole and site.has("y") else None
    hidden = h.entries
    driven = gate_product(site, "input_weight", x, attributes["x_zero_point"], 4)
    recurrent = gate_product(site, "recurrent_weight", h, attributes["h_zero_point"], 4)
    u, a = site.scratch("driven", "int32", driven.size), site.scratch("recurrent", "int32", recurrent.size)
    gates, shown = site.scratch("gates", "int16", 4 * hidden), site.scratch("shown", "int16", hidden)
    readable = driven.readable(site, x)
    bias = site.constant("bias")
    left = attributes["recurrent_shift"]
    site.comment = "i, f, o = sigmoid(W h + U x + b); g = tanh(W h + U x + b); c = i g + f c; h = o tanh(c)"
    with site.steps_loop() as step:
        site.remark("u = U x, at the scale of the accumulator")
        here = readable(site.at(x.name, step, x.entries))
        driven_part(site, driven, u, here, np.zeros_like(driven.rest))
        if left:
            site.remark(f"a = (W h) 2^{left} + b + u")
            start(site, recurrent, a, np.zeros_like(recurrent.rest), "recurrent_start")
            site.line(recurrent.call(a, h.name))
            name = site.array("bias", recurrent.arranged(bias))
            site.line(f"{site.kernel('shift_and_add')}({a}, {left}, {name}, {recurrent.size});")
        else:
            site.remark("a = W h + b + u")
            start(site, recurrent, a, bias, "bias")
            site.line(recurrent.call(a, h.name))
        add_runs(site, a, list(recurrent.runs), u, list(driven.runs))
        site.remark("i, f, o = sigmoid(a); g = tanh(a)")
        table_index(
            site,
            gates,
            a,
            recurrent.runs,
            site.constant("multiplier"),
            attributes["shift"],
            argument="gate_table",
        )
        i, f, g, o = (moved(gates, gate * hidden) for gate in range(4))
        look_up(site, i, i, "gate_table", 2 * hidden)
        look_up(site, g, g, "candidate_table", hidden)
        look_up(site, o, o, "gate_table", hidden)
        site.remark("c = i g + f c")
        site.line(f"{site.kernel('lstm_cell')}({c.name}, {i}, {f}, {g}, {hidden});")
        site.remark("h = o tanh(c)")
        site.line(
            f"{site.kernel('shifted_index')}({shown}, {c.name}, {hidden}, {attributes['cell_shift']}, "
            f"{table_size(site, 'cell_table')});"
        )
        look_up(site, shown, shown, "cell_table", hidden)
        site.line(
            f"{site.kernel(f'gated_output_{state_type(h)}')}({h.name}, {o}, {shown}, {hidden}, "
            f"{attributes['output_shift']}, {attributes['h_zero_point']}, {attributes['low']}, {attributes['high']});"
        )
        copy_state(site, y, step, h)
