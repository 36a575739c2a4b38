"""LSTM."""

from __future__ import annotations

from ....functions import lstm_overload
from ..algebra import NO_SOURCE, Key
from .cell import Affine, Cell, Step, register, stacked

__all__ = ["lstm"]


@register("LSTM: c' = f c + i g, h' = o tanh(c'), i, f and o sigmoids and g a tanh of (h, x)")
def lstm(step: Step) -> Cell | None:
    """Two states, in any order."""
    if len(step.following) != 2:
        return None
    for hidden, cell in ((0, 1), (1, 0)):
        gates = _gates(step, hidden, cell)
        weights = None if gates is None else stacked(step.algebra, gates)
        if weights is not None:
            return Cell(
                "LSTM",
                {},
                weights.inputs,
                (
                    ("input_weight", weights.input_weight),
                    ("recurrent_weight", weights.recurrent_weight),
                    ("bias", weights.bias),
                ),
                (hidden, cell),
                lambda has_states: lstm_overload(has_states=has_states),
            )
    return None


def _gates(step: Step, hidden: int, cell: int) -> list[Affine] | None:
    """The arguments of i, f, g and o."""
    following, memory = step.following[hidden], step.following[cell]
    state, algebra = step.sources[hidden], step.algebra
    for atoms, source in following.terms:
        shown = [number for number in atoms if algebra.atoms[number].function == "Tanh"]
        if source != NO_SOURCE or len(atoms) != 2 or len(shown) != 1:
            continue
        (output,) = set(atoms) - set(shown)
        if not algebra.equal(algebra.atoms[shown[0]].argument, memory):
            continue
        kept = [key[0][0] for key in memory.terms if key[1] == step.sources[cell] and len(key[0]) == 1]
        added = [key[0] for key in memory.terms if key[1] == NO_SOURCE and len(key[0]) == 2]
        if len(kept) != 1 or len(added) != 1:
            continue
        expected: dict[Key, float] = {((kept[0],), step.sources[cell]): 1.0, (added[0], NO_SOURCE): 1.0}
        if not step.has_terms(memory, expected) or not step.has_terms(following, {(atoms, NO_SOURCE): 1.0}):
            continue
        candidates = [number for number in added[0] if algebra.atoms[number].function == "Tanh"]
        written = [number for number in added[0] if algebra.atoms[number].function == "Sigmoid"]
        if len(candidates) != 1 or len(written) != 1:
            continue
        functions = ((written[0], "Sigmoid"), (kept[0], "Sigmoid"), (candidates[0], "Tanh"), (output, "Sigmoid"))
        gates = []
        for number, function in functions:
            argument = step.atom(number, function)
            affine = None if argument is None else step.affine(argument, state)
            if affine is not None:
                gates.append(affine)
        if len(gates) == len(functions):
            return gates
    return None
