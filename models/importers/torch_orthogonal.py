"""torch.nn.utils.parametrizations.orthogonal of a square weight.

The state dict has ``parametrizations.weight.original``, and with a trivialization ``.0.base``. The weight is read off a
layer that is made anew with the map that the side-car names: torch's own arithmetic, and no code of the file.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrizations

from .library import Library, Recurrent, check_orthogonal
from .side_car import SideCar
from .tensors import Tensors

__all__ = ["LIBRARY"]


def _read(tensors: Tensors, name: str, side_car: SideCar) -> Recurrent:
    raw = tensors.raw(name)
    size = len(tensors.take(raw, None, None))
    state = {"parametrizations.weight.original": tensors.take(raw, size, size)}
    base = f"{raw.removesuffix('.original')}.0.base"
    if base in tensors:
        state["parametrizations.weight.0.base"] = tensors.take(base, size, size)
    layer = nn.Linear(size, size, bias=False)
    parametrizations.orthogonal(
        layer, "weight", orthogonal_map=side_car.parametrization, use_trivialization=base in tensors
    )
    layer.load_state_dict(state)
    with torch.no_grad():
        weight = layer.eval().weight.detach().clone()
    return Recurrent.matrix(check_orthogonal(weight, name, tensors.source))


LIBRARY = Library(
    layouts=(),
    read=_read,
    parametrizations=("matrix_exp", "cayley", "householder"),
    ambiguous=True,
)
