"""``h' = alpha act(W h + U x + b) + beta h``, alpha and beta one number each."""

from __future__ import annotations

import numpy as np

from ....functions import fast_overload
from ..algebra import NO_SOURCE, Matrix, Polynomial
from .cell import Affine, Cell, Step, register, stacked

__all__ = ["fast_rnn", "nonlinearity", "number_of"]

_ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu"}


@register("FastRNN: h' = alpha act(W h + U x + b) + beta h, beta from 0 to 1")
def fast_rnn(step: Step) -> Cell | None:
    """One state, a part of which is kept as it is."""
    if len(step.following) != 1:
        return None
    value, state = step.following[0], step.sources[0]
    fresh = [atoms for atoms, source in value.terms if source == NO_SOURCE and len(atoms) == 1]
    if len(fresh) != 1 or value.terms.keys() != {(fresh[0], NO_SOURCE), ((), state)}:
        return None
    alpha, beta = number_of(value.terms[fresh[0], NO_SOURCE]), number_of(value.terms[(), state])
    found = nonlinearity(step, fresh[0][0])
    if alpha is None or beta is None or not 0 <= beta <= 1 or found is None:
        return None
    activation, affine = found
    weights = stacked(step.algebra, [affine])
    if weights is None:
        return None
    return Cell(
        "FastRNN",
        {"activation": activation, "rank": "full"},
        weights.inputs,
        (
            ("input_weight", weights.input_weight),
            ("recurrent_weight", weights.recurrent_weight),
            ("bias", weights.bias),
            ("mix", np.array([alpha, beta], np.float32)),
        ),
        (0,),
        lambda has_states: fast_overload(activation, "full", has_h0=has_states),
    )


def nonlinearity(step: Step, number: int) -> tuple[str, Affine] | None:
    """The name and the argument of the atom ``number`` where it is an activation of the old state and the input."""
    atom = step.algebra.atoms[number]
    name, argument = _ACTIVATIONS.get(atom.function, ""), atom.argument
    if atom.function == "Clip":
        limits = dict(atom.parameters)
        if (limits["low"], limits["high"]) == (-1.0, 1.0):
            name = "quant_tanh"
        elif (limits["low"], limits["high"]) == (0.0, 1.0):
            # clip((a + 1) / 2, 0, 1) is written so; its argument is twice as large, less 1.
            name, argument = "quant_sigmoid", _doubled_less_one(step, argument)
    affine = step.affine(argument, step.sources[0]) if name and argument.width == step.width else None
    return None if affine is None else (name, affine)


def _doubled_less_one(step: Step, value: Polynomial) -> Polynomial:
    doubled = step.algebra.add(value, value)
    return step.algebra.add(doubled, step.algebra.constant(np.ones(value.width)), -1.0)


def number_of(coefficient: Matrix) -> float | None:
    """The number that a vector repeats, or that a matrix has on its diagonal and nothing beside; else ``None``."""
    if coefficient.ndim == 2:
        diagonal = np.diagonal(coefficient)
        if coefficient.shape[0] != coefficient.shape[1] or (coefficient != np.diag(diagonal)).any():
            return None
        coefficient = diagonal
    number = float(coefficient[0])
    return number if np.allclose(coefficient, number, rtol=1e-6, atol=0.0) else None
