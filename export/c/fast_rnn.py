"""FastRNN in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.fast_layers import PreActivation
from qdeploy.export.c.gates import copy_state, look_up, state_type

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("FastRNN")
def fast_rnn(site: Site) -> None:
    """One step, or all steps of a whole sequence: the pre-activation, its table, and the weighted residual."""
    attributes = site.attributes
    x, h = site.input("x"), site.state("h")
    y = site.output("y") if site.whole and site.has("y") else None
    pre = PreActivation.of(site, x, h)
    index, added = site.scratch("index", "int16", h.entries), site.scratch("added", "int32", h.entries)
    readable = pre.driven.readable(site, x)
    site.comment = "h = alpha act(W h + U x + b) + beta h"
    with site.steps_loop() as step:
        pre.write(site, readable(site.at(x.name, step, x.entries)))
        site.remark("alpha act(a + b), from a table")
        pre.add_bias(site, site.constant("bias"), "bias")
        pre.index(site, index, site.constant("index_shift"), argument="added_table", hint="index_multiplier")
        look_up(site, added, index, "added_table", h.entries)
        site.remark("h = alpha act(a + b) + beta h")
        site.line(
            f"{site.kernel(f'weighted_residual_{state_type(h)}')}({h.name}, {added}, {h.entries}, {attributes['kept']}, "
            f"{attributes['state_shift']}, {attributes['h_zero_point']}, {attributes['low']}, {attributes['high']});"
        )
        copy_state(site, y, step, h)
