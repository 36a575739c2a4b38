"""expRNN and dtriv (Lezcano-Casado, Martinez-Rubio, arXiv 1901.08428; Lezcano-Casado, arXiv 1909.09501).

Facts of github.com/Lezcano/expRNN: the layer computes ``h B`` with ``B = base map(A)``, so that W = B^T; A is the strict
upper triangle of ``_A`` minus its transpose; the maps are the exponential and Cayley's ``(1 + A)^-1 (1 - A)``. The buffer
``_B`` holds B as it was before the optimizer's last step. modReLU adds nothing to |a|. ``permutation`` is that of the
MNIST program, which permutes pixels inside the network: data for the import come permuted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qdeploy.runtime.errors import InvalidFileError

from .library import Library, Recurrent, check_orthogonal, skew_symmetric
from .side_car import SideCar
from .tensors import Tensors

__all__ = ["LIBRARY"]


def _cayley(skew: Tensor) -> Tensor:
    identity = torch.eye(len(skew), dtype=skew.dtype)
    turned: Tensor = torch.linalg.solve(identity + skew, identity - skew)
    return turned


_MAPS = {"exponential": torch.linalg.matrix_exp, "cayley": _cayley}


def _read(tensors: Tensors, name: str, side_car: SideCar) -> Recurrent:
    stored = tensors.take(f"{name}._A", None, None)
    size = len(stored)
    skew = skew_symmetric(tensors.take(f"{name}._A", size, size), "upper").double()
    base = tensors.take(f"{name}.base", size, size).double()
    chosen = str(side_car.parametrization)
    made = {key: base @ make(skew) for key, make in _MAPS.items()}
    if f"{name}._B" in tensors:
        before = tensors.take(f"{name}._B", size, size).double()
        distances = {key: float((matrix - before).norm()) for key, matrix in made.items()}
        nearest = min(distances, key=lambda key: distances[key])
        # One step of an optimizer is between B and _B; the maps differ in the third order of A.
        if distances[nearest] < 0.1 * distances[chosen]:
            raise InvalidFileError(
                f"{side_car.source}: parametrization={chosen!r}, but {name}._B of the checkpoint is what {nearest!r} makes "
                f"(distance {distances[nearest]:.3g} against {distances[chosen]:.3g})"
            )
    return Recurrent.matrix(check_orthogonal(made[chosen].T.float().contiguous(), name, tensors.source))


LIBRARY = Library(
    layouts=(
        {
            "recurrent_weight": "rnn.recurrent_kernel",
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
    epsilon=0.0,
    untrained=("permutation",),
)
