"""``h' = act(W h + U x + b)``."""

from __future__ import annotations

import numpy as np

from ....functions import rnn_overload
from ..algebra import NO_SOURCE, Matrix, Polynomial
from .cell import Cell, Step, register, stacked

__all__ = ["rnn"]

_ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh"}


@register("RNN: h' = act(W h + U x + b), act one of Relu, Tanh, modReLU and none")
def rnn(step: Step) -> Cell | None:
    """A simple recurrent layer of one state."""
    if len(step.following) != 1:
        return None
    activation, argument, modrelu_bias = _split(step, step.following[0])
    affine = step.affine(argument, step.sources[0])
    weights = None if affine is None else stacked(step.algebra, [affine])
    if weights is None:
        return None
    parameters = [
        ("input_weight", weights.input_weight),
        ("recurrent_weight", weights.recurrent_weight),
        ("bias", weights.bias),
    ]
    if modrelu_bias is not None:
        parameters.append(("modrelu_bias", modrelu_bias.astype(np.float32)))
    return Cell(
        "RNN",
        {"activation": activation},
        weights.inputs,
        tuple(parameters),
        (0,),
        lambda has_states: rnn_overload(activation, has_h0=has_states),
    )


def _split(step: Step, value: Polynomial) -> tuple[str, Polynomial, Matrix | None]:
    """The activation, its argument, and modReLU's bias."""
    if len(value.terms) == 1:
        (atoms, source), *_ = value.terms
        if source == NO_SOURCE and step.has_terms(value, {(atoms, source): 1.0}):
            functions = {step.algebra.atoms[atom].function: step.algebra.atoms[atom] for atom in atoms}
            if len(atoms) == 1:
                ((function, atom),) = functions.items()
                if function in _ACTIVATIONS:
                    return _ACTIVATIONS[function], atom.argument, None
            elif len(atoms) == 2 and functions.keys() == {"Sign", "Relu"}:
                argument = functions["Sign"].argument
                modulus = step.algebra.apply("Abs", (), argument)
                bias = step.algebra.add(functions["Relu"].argument, modulus, -1.0)
                if bias.terms.keys() <= {((), NO_SOURCE)}:
                    return "modrelu", argument, bias.terms.get(((), NO_SOURCE), np.zeros(value.width))
    return "linear", value, None
