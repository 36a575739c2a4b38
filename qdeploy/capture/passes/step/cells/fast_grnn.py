"""``h' = (zeta (1 - z) + nu) n + z h``, the gate and the candidate of one and the same W h + U x."""

from __future__ import annotations

import numpy as np

from ....functions import fast_overload
from ..algebra import NO_SOURCE, Matrix
from .cell import Affine, Cell, Step, register, stacked
from .fast_rnn import nonlinearity, number_of

__all__ = ["fast_grnn"]


@register("FastGRNN: h' = (zeta (1 - z) + nu) n + z h, z and n activations of the same W h + U x with a bias each")
def fast_grnn(step: Step) -> Cell | None:
    """One state and three terms, ``(zeta + nu) n``, ``- zeta z n`` and ``z h``."""
    if len(step.following) != 1:
        return None
    value, state = step.following[0], step.sources[0]
    kept = [atoms for atoms, source in value.terms if source == state and len(atoms) == 1]
    if len(kept) != 1 or number_of(value.terms[kept[0], state]) != 1.0:
        return None
    (gate_atom,) = kept[0]
    fresh = [atoms for atoms, source in value.terms if source == NO_SOURCE and len(atoms) == 1]
    if len(fresh) != 1:
        return None
    (candidate_atom,) = fresh[0]
    both = tuple(sorted((gate_atom, candidate_atom)))
    if value.terms.keys() != {(kept[0], state), (fresh[0], NO_SOURCE), (both, NO_SOURCE)}:
        return None
    whole, opened = number_of(value.terms[fresh[0], NO_SOURCE]), number_of(value.terms[both, NO_SOURCE])
    gate, candidate = nonlinearity(step, gate_atom), nonlinearity(step, candidate_atom)
    if whole is None or opened is None or gate is None or candidate is None or not _shared(gate[1], candidate[1]):
        return None
    weights = stacked(step.algebra, [candidate[1]])
    if weights is None:
        return None
    return Cell(
        "FastGRNN",
        {"activation": candidate[0], "rank": "full", "gate": gate[0]},
        weights.inputs,
        (
            ("input_weight", weights.input_weight),
            ("recurrent_weight", weights.recurrent_weight),
            ("bias", np.concatenate([gate[1].bias, candidate[1].bias]).astype(np.float32)),
            ("mix", np.array([-opened, whole + opened], np.float32)),
        ),
        (0,),
        lambda has_states: fast_overload(candidate[0], "full", gate=gate[0], has_h0=has_states),
    )


def _shared(first: Affine, second: Affine) -> bool:
    """Whether both have the same matrices."""
    if first.inputs.keys() != second.inputs.keys():
        return False
    pairs = [(first.recurrent, second.recurrent), *((first.inputs[key], second.inputs[key]) for key in first.inputs)]
    return all(_close(one, other) for one, other in pairs)


def _close(first: Matrix, second: Matrix) -> bool:
    largest = max(float(np.abs(first).max(initial=0.0)), float(np.abs(second).max(initial=0.0)))
    return bool(np.allclose(first, second, rtol=0.0, atol=1e-6 * largest))
