"""FastGRNN in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.fast_layers import PreActivation
from qdeploy.export.c.gates import copy_state, look_up, state_type

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("FastGRNN")
def fast_grnn(site: Site) -> None:
    """One step, or all steps of a whole sequence: one pre-activation for gate and candidate, their tables, the state."""
    attributes = site.attributes
    x, h = site.input("x"), site.state("h")
    y = site.output("y") if site.whole and site.has("y") else None
    hidden = h.entries
    pre = PreActivation.of(site, x, h)
    gate, candidate = site.scratch("gate", "int16", hidden), site.scratch("candidate", "int16", hidden)
    added = site.scratch("added", "int32", hidden)
    readable = pre.driven.readable(site, x)
    bias, shifts = site.constant("bias").astype(np.int64), site.constant("index_shift")
    site.comment = "z = act_g(W h + U x + b_g); n = act(W h + U x + b_u); h = (zeta (1 - z) + nu) n + z h"
    with site.steps_loop() as step:
        pre.write(site, readable(site.at(x.name, step, x.entries)))
        site.remark("z = act_g(a + b_g)")
        pre.add_bias(site, bias[:hidden], "gate_bias")
        pre.index(site, gate, shifts[:hidden], argument="gate_table", hint="gate_multiplier")
        look_up(site, gate, gate, "gate_table", hidden)
        site.remark("(zeta + nu) act(a + b_u) and zeta act(a + b_u); the sum has b_g already")
        pre.add_bias(site, bias[hidden:] - bias[:hidden], "candidate_bias")
        pre.index(site, candidate, shifts[hidden:], argument="added_table", hint="candidate_multiplier")
        look_up(site, added, candidate, "added_table", hidden)
        look_up(site, candidate, candidate, "candidate_table", hidden)
        site.remark("h = (zeta + nu) n + z (h - zeta n)")
        site.line(
            f"{site.kernel(f'gated_residual_{state_type(h)}')}({h.name}, {added}, {gate}, {candidate}, {hidden}, "
            f"{attributes['state_shift']}, {attributes['h_zero_point']}, {attributes['low']}, {attributes['high']});"
        )
        copy_state(site, y, step, h)
