"""GRU with the reset gate behind the recurrent product."""

from __future__ import annotations

import numpy as np

from ....functions import gru_overload
from ..algebra import NO_SOURCE, Key, Matrix, Polynomial
from .cell import Affine, Cell, Step, register, stacked

__all__ = ["gru", "reset_gate"]


@register("GRU: h' = (1 - z) n + z h, r and z sigmoids of (h, x), n = tanh(r (W h + c) + U x + b)")
def gru(step: Step) -> Cell | None:
    """One state; ``r * (W h + c)`` inside of the candidate, as torch.nn.GRU and Keras's reset_after compute it."""
    if len(step.following) != 1:
        return None
    state = step.sources[0]
    mixture = step.mixture(step.following[0], state)
    argument = None if mixture is None else step.atom(mixture.candidate, "Tanh")
    if mixture is None or argument is None:
        return None
    gated = {atom for atoms, _ in argument.terms for atom in atoms if reset_gate(step, atom) is not None}
    for gate in gated:
        inner: dict[Key, Matrix] = {key: value for key, value in argument.terms.items() if key[0] == (gate,)}
        outer = {key: value for key, value in argument.terms.items() if key[0] != (gate,)}
        if not inner.keys() <= {((gate,), state), ((gate,), NO_SOURCE)}:
            continue
        rest = step.affine(Polynomial(argument.width, outer), state)
        reset = reset_gate(step, gate)
        if rest is None or reset is None or rest.recurrent.any():
            continue
        recurrent = inner.get(((gate,), state), np.zeros((step.width, step.width)))
        recurrent_bias = inner.get(((gate,), NO_SOURCE), np.zeros(step.width))
        weights = stacked(step.algebra, [reset, mixture.gate, Affine(recurrent, rest.inputs, rest.bias)])
        if weights is None:
            return None
        return Cell(
            "GRU",
            {"hidden_size": step.width},
            weights.inputs,
            (
                ("input_weight", weights.input_weight),
                ("recurrent_weight", weights.recurrent_weight),
                ("bias", weights.bias),
                ("recurrent_bias", recurrent_bias.astype(np.float32)),
            ),
            (0,),
            lambda has_states: gru_overload(has_h0=has_states),
        )
    return None


def reset_gate(step: Step, number: int) -> Affine | None:
    """The argument of the atom ``number`` where it is a gate: a sigmoid of the old state and the input."""
    argument = step.atom(number, "Sigmoid")
    affine = None if argument is None else step.affine(argument, step.sources[0])
    # A sigmoid of the input alone, added to the sum, is a part of the input.
    return affine if affine is not None and argument is not None and argument.width == step.width else None
