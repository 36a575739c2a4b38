"""GRU with the reset gate before the recurrent product."""

from __future__ import annotations

from ....functions import gru_reset_before_overload
from ..algebra import Polynomial
from .cell import Affine, Cell, Step, register, stacked
from .gru import reset_gate

__all__ = ["gru_reset_before"]


@register("GRUResetBefore: as GRU with n = tanh(W (r h) + U x + b)")
def gru_reset_before(step: Step) -> Cell | None:
    """One state; the gated state is multiplied, as ONNX's default and Keras's reset_after=False compute it."""
    if len(step.following) != 1:
        return None
    state = step.sources[0]
    mixture = step.mixture(step.following[0], state)
    argument = None if mixture is None else step.atom(mixture.candidate, "Tanh")
    if mixture is None or argument is None:
        return None
    for key, recurrent in argument.terms.items():
        atoms, source = key
        gated = None if atoms or source < 0 else step.algebra.sources[source].value
        if gated is None or len(gated.terms) != 1:
            continue
        ((gates, inner),) = gated.terms
        if len(gates) != 1 or not step.has_terms(gated, {((gates[0],), state): 1.0}) or inner != state:
            continue
        reset = reset_gate(step, gates[0])
        outer = {other: value for other, value in argument.terms.items() if other != key}
        rest = step.affine(Polynomial(argument.width, outer), state)
        if reset is None or rest is None or rest.recurrent.any():
            continue
        weights = stacked(step.algebra, [reset, mixture.gate, Affine(recurrent, rest.inputs, rest.bias)])
        if weights is None:
            return None
        return Cell(
            "GRUResetBefore",
            {"hidden_size": step.width},
            weights.inputs,
            (
                ("input_weight", weights.input_weight),
                ("recurrent_weight", weights.recurrent_weight),
                ("bias", weights.bias),
            ),
            (0,),
            lambda has_states: gru_reset_before_overload(has_h0=has_states),
        )
    return None
