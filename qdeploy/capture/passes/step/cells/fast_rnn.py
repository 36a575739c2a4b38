"""FastRNN and FastGRNN: one pre-activation and a residual connection."""

from __future__ import annotations

import numpy as np

from ....functions import fast_overload
from ..algebra import NO_SOURCE, Matrix
from .cell import Affine, Cell, Step, register, stacked

__all__ = ["fast_grnn", "fast_rnn"]

_ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu"}


@register("FastRNN: h' = alpha act(W h + U x + b) + beta h, beta from 0 to 1")
def fast_rnn(step: Step) -> Cell | None:
    """Two terms: one activation and the old state, each times a number."""
    value, state = step.following[0], step.sources[0]
    fresh = [key for key in value.terms if len(key[0]) == 1 and key[1] == NO_SOURCE]
    if len(step.following) != 1 or len(fresh) != 1 or value.terms.keys() != {fresh[0], ((), state)}:
        return None
    (number,), _ = fresh[0]
    alpha, beta = _number(value.terms[fresh[0]]), _number(value.terms[(), state])
    activation, affine = _nonlinearity(step, number)
    if affine is None or alpha is None or beta is None or not 0 <= beta <= 1:
        return None
    return _cell(step, "FastRNN", {"activation": activation, "rank": "full"}, affine, affine.bias, (alpha, beta))


@register("FastGRNN: h' = (zeta (1 - z) + nu) n + z h, z and n activations of one W h + U x and biases of their own")
def fast_grnn(step: Step) -> Cell | None:
    """Three terms, and the same matrices in the gate and the candidate."""
    value, state = step.following[0], step.sources[0]
    kept = [key for key in value.terms if len(key[0]) == 1 and key[1] == state]
    fresh = [key for key in value.terms if len(key[0]) == 1 and key[1] == NO_SOURCE]
    if len(step.following) != 1 or len(kept) != 1 or len(fresh) != 1:
        return None
    gate, candidate = kept[0][0][0], fresh[0][0][0]
    both = ((gate, candidate) if gate < candidate else (candidate, gate)), NO_SOURCE
    if value.terms.keys() != {kept[0], fresh[0], both} or _number(value.terms[kept[0]]) != 1.0:
        return None
    opened, closed = _number(value.terms[fresh[0]]), _number(value.terms[both])
    (gated, first), (activation, second) = (_nonlinearity(step, number) for number in (gate, candidate))
    if opened is None or closed is None or first is None or second is None or not _same_matrices(first, second):
        return None
    attributes = {"activation": activation, "rank": "full", "gate": gated}
    mix = (-closed, opened + closed)
    return _cell(step, "FastGRNN", attributes, second, np.concatenate([first.bias, second.bias]), mix)


def _nonlinearity(step: Step, number: int) -> tuple[str, Affine | None]:
    """The operator's name for the atom ``number`` and its argument; ``None`` where it is another or no sum of state and input."""
    atom = step.algebra.atoms[number]
    name, argument = _ACTIVATIONS.get(atom.function, ""), atom.argument
    limits = dict(atom.parameters)
    if atom.function == "Clip" and (limits["low"], limits["high"]) == (-1.0, 1.0):
        name = "quant_tanh"
    elif atom.function == "Clip" and (limits["low"], limits["high"]) == (0.0, 1.0):
        # clip((a + 1) / 2, 0, 1): a is twice the argument, less 1.
        twice = step.algebra.add(argument, argument)
        one = step.algebra.constant(np.ones(argument.width))
        name, argument = "quant_sigmoid", step.algebra.add(twice, one, -1.0)
    affine = step.affine(argument, step.sources[0]) if name and argument.width == step.width else None
    return name, affine


def _cell(
    step: Step, operator: str, attributes: dict[str, str], affine: Affine, bias: Matrix, mix: tuple[float, float]
) -> Cell | None:
    weights = stacked(step.algebra, [affine])
    if weights is None:
        return None
    return Cell(
        operator,
        attributes,
        weights.inputs,
        (
            ("input_weight", weights.input_weight),
            ("recurrent_weight", weights.recurrent_weight),
            ("bias", bias.astype(np.float32)),
            ("mix", np.array(mix, np.float32)),
        ),
        (0,),
        lambda has_states: fast_overload(
            attributes["activation"], "full", gate=attributes.get("gate", ""), has_h0=has_states
        ),
    )


def _number(coefficient: Matrix) -> float | None:
    """The number that a coefficient is, as a matrix times the identity."""
    number = float(coefficient.reshape(-1)[0])
    expected = number * np.eye(len(coefficient)) if coefficient.ndim == 2 else np.full(len(coefficient), number)
    same = coefficient.shape == expected.shape and np.allclose(coefficient, expected, rtol=1e-6, atol=1e-9)
    return number if same else None


def _same_matrices(first: Affine, second: Affine) -> bool:
    if first.inputs.keys() != second.inputs.keys():
        return False
    pairs = [(first.recurrent, second.recurrent)]
    pairs += [(matrix, second.inputs[source]) for source, matrix in first.inputs.items()]
    return all(np.allclose(one, other, rtol=1e-5, atol=1e-7) for one, other in pairs)
