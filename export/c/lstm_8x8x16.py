"""LSTM8x8x16 in C: the LSTM that LiteRT has built in, its fixed-point functions included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.gates import copy_state, gate_product, moved, of_rows, start
from qdeploy.runtime.kernel_rounding import first_shift
from qdeploy.runtime.ops.lstm_8x8x16 import CANDIDATE_INTEGER_BITS, GATE_BITS, H_ZERO_POINT

if TYPE_CHECKING:
    from qdeploy.export.c.product import MatrixProduct
    from qdeploy.export.c.site import Site

_GATES = 4


@c_operator("LSTM8x8x16")
def lstm_8x8x16(site: Site) -> None:
    """One step, or all steps of a whole sequence: both products, pre-activations, gates, cell and hidden state."""
    attributes = site.attributes
    x, h, c = site.input("x"), site.state("h"), site.state("c")
    y = site.output("y") if site.whole and site.has("y") else None
    hidden = h.entries
    driven = gate_product(site, "input_weight", x, attributes["x_zero_point"], _GATES)
    recurrent = gate_product(site, "recurrent_weight", h, H_ZERO_POINT, _GATES)
    u, a = site.scratch("driven", "int32", driven.size), site.scratch("recurrent", "int32", recurrent.size)
    gates, shown = site.scratch("gates", "int16", _GATES * hidden), site.scratch("shown", "int16", hidden)
    readable = driven.readable(site, x)
    site.comment = "a = U x + b + W h; i, f, o = logistic(a); g = tanh(a); c = f c + i g; h = o tanh(c)"
    with site.steps_loop() as step:
        site.remark("a = U x + b, each rounded to 12 fractional bits; then W h likewise")
        start(site, driven, u, site.constant("bias"), "bias")
        site.line(driven.call(u, readable(site.at(x.name, step, x.entries))))
        _pre_activations(site, "input", driven, u, gates, hidden, added=False)
        start(site, recurrent, a, np.zeros_like(recurrent.rest), "recurrent_start")
        site.line(recurrent.call(a, h.name))
        _pre_activations(site, "recurrent", recurrent, a, gates, hidden, added=True)
        i, f, g, o = (moved(gates, gate * hidden) for gate in range(_GATES))
        site.remark("i, f, o = logistic(a); g = tanh(a)")
        site.line(f"{site.kernel('fixed_logistic')}({i}, {2 * hidden});")
        site.line(f"{site.kernel('fixed_tanh')}({g}, {g}, {hidden}, {CANDIDATE_INTEGER_BITS});")
        site.line(f"fixed_logistic({o}, {hidden});")
        site.remark("c = f c + i g")
        cell_bits = attributes["cell_integer_bits"]
        kernel = site.kernel("lstm_cell_in_parts")
        site.line(f"{kernel}({c.name}, {i}, {f}, {g}, {hidden}, {GATE_BITS + cell_bits});")
        site.remark("h = o tanh(c)")
        site.line(f"fixed_tanh({shown}, {c.name}, {hidden}, {cell_bits});")
        site.line(f"{site.kernel('shown_state_u8')}({h.name}, {o}, {shown}, {hidden}, {attributes['output_shift']});")
        copy_state(site, y, step, h)


def _pre_activations(
    site: Site, which: str, product: MatrixProduct, accumulator: str, gates: str, hidden: int, *, added: bool
) -> None:
    """The rows of each gate, by its multiplier; ``added`` to what is there."""
    shift = site.attributes[f"{which}_shift"]
    kernel = site.kernel("pre_activation")
    for gate, multiplier in enumerate(site.constant(f"{which}_multiplier").tolist()):
        first = int(first_shift(multiplier, shift))
        for run in of_rows(product.runs, gate * hidden, hidden):
            to, of = moved(gates, gate * hidden + run.first), moved(accumulator, run.place)
            site.line(f"{kernel}({to}, {of}, {run.count}, {multiplier}, {first}, {shift - first}, {int(added)});")
