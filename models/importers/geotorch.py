"""geotorch (Lezcano): ``geotorch.orthogonal(layer, "weight")`` of a square weight.

Facts of github.com/lezcano/geotorch: the state dict has ``parametrizations.weight.original`` and ``.0.base``, and the
weight is ``base map(A)``, A being the strict lower triangle of the original minus its transpose (the upper one with
``lower=False``); the maps are ``expm`` and ``cayley``, ``(1 + A/2)(1 - A/2)^-1``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .library import Library, Recurrent, check_orthogonal, skew_symmetric
from .side_car import SideCar
from .tensors import Tensors

__all__ = ["LIBRARY"]


def _cayley(skew: Tensor) -> Tensor:
    identity = torch.eye(len(skew), dtype=skew.dtype)
    turned: Tensor = torch.linalg.solve(identity - skew / 2, identity + skew / 2)
    return turned


_MAPS = {"expm": torch.linalg.matrix_exp, "cayley": _cayley}


def _read(tensors: Tensors, name: str, side_car: SideCar) -> Recurrent:
    raw = tensors.raw(name)
    size = len(tensors.take(raw, None, None))
    skew = skew_symmetric(tensors.take(raw, size, size), side_car.triangle).double()
    base = tensors.take(f"{raw.removesuffix('.original')}.0.base", size, size).double()
    weight = (base @ _MAPS[str(side_car.parametrization)](skew)).float()
    return Recurrent.matrix(check_orthogonal(weight, name, tensors.source))


LIBRARY = Library(
    layouts=(
        {
            "recurrent_weight": "rnn.recurrent_kernel.weight",
            "recurrent_bias": "rnn.recurrent_kernel.bias",
            "input_weight": "rnn.input_kernel.weight",
            "input_bias": "rnn.input_kernel.bias",
            "modrelu_bias": "rnn.nonlinearity.b",
            "output_weight": "lin.weight",
            "output_bias": "lin.bias",
        },
    ),
    read=_read,
    parametrizations=tuple(_MAPS),
    ambiguous=True,
)
