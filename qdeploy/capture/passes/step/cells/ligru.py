"""LiGRU: one gate, and a candidate of the state itself."""

from __future__ import annotations

from ....functions import ligru_overload
from .cell import Cell, Step, register, stacked

__all__ = ["ligru"]


@register("LiGRU: h' = (1 - z) n + z h, z a sigmoid and n a Relu, LeakyRelu or Tanh of (h, x)")
def ligru(step: Step) -> Cell | None:
    """One state without a reset gate."""
    if len(step.following) != 1:
        return None
    state = step.sources[0]
    mixture = step.mixture(step.following[0], state)
    if mixture is None:
        return None
    argument = step.atom(mixture.candidate, "Tanh", "Relu", "LeakyRelu")
    affine = None if argument is None else step.affine(argument, state)
    weights = None if affine is None else stacked(step.algebra, [affine, mixture.gate])
    if weights is None:
        return None
    atom = step.algebra.atoms[mixture.candidate]
    candidate = "tanh" if atom.function == "Tanh" else "rectifier"
    return Cell(
        "LiGRU",
        {"candidate": candidate, "slope": float(dict(atom.parameters).get("alpha", 0.0))},
        weights.inputs,
        (
            ("input_weight", weights.input_weight),
            ("recurrent_weight", weights.recurrent_weight),
            ("bias", weights.bias),
        ),
        (0,),
        lambda has_states: ligru_overload(candidate, has_h0=has_states),
    )
