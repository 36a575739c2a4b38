"""What an importer says of its library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from qdeploy.runtime.errors import InvalidFileError

from .side_car import SideCar
from .tensors import Tensors

__all__ = ["Layout", "Library", "Recurrent", "check_orthogonal", "skew_symmetric"]

Layout = Mapping[str, str]
"""By role, the names that a library's own programs give to their tensors."""

# Far above what float32 training leaves, far below what a matrix that is none shows.
_LARGEST_DEVIATION = 0.05


@dataclass(frozen=True)
class Recurrent:
    """The recurrent part of an ``orthogonal-classifier``.

    Attributes:
        state: its latent parameter, by name in the classifier.
        size: H.
        hyperparameters: of the classifier: ``orthogonal``, and what belongs to it.
    """

    state: dict[str, Tensor]
    size: int
    hyperparameters: dict[str, Any] = field(default_factory=lambda: {"orthogonal": "none"})

    @classmethod
    def matrix(cls, weight: Tensor) -> Recurrent:
        """Of ``W`` [H, H] as the loop multiplies by it."""
        return cls({"recurrent.recurrent_weight": weight}, len(weight))


@dataclass(frozen=True)
class Library:
    """A library's layouts of one recurrent layer and its output layer.

    Attributes:
        layouts: that its own programs have; the first one whose recurrent weight is there is taken.
        read: gives the recurrent part, of the tensors, the recurrent weight's name, and the side-car.
        parametrizations: names of the maps that a side-car may choose from; the first one is taken where it names none,
            unless ``ambiguous``.
        ambiguous: whether the map has to be named.
        epsilon: what its modReLU adds to |a|; ``None`` where every program has its own.
        untrained: endings of names of tensors that are no part of the network.
    """

    layouts: tuple[Layout, ...]
    read: Callable[[Tensors, str, SideCar], Recurrent]
    parametrizations: tuple[str, ...] = ()
    ambiguous: bool = False
    epsilon: float | None = None
    untrained: tuple[str, ...] = ()


def skew_symmetric(stored: Tensor, triangle: str) -> Tensor:
    """``T - T^t`` of the strict ``lower`` or ``upper`` triangle T of ``stored`` [H, H]."""
    half = stored.tril(-1) if triangle == "lower" else stored.triu(1)
    return half - half.T


def check_orthogonal(weight: Tensor, name: str, source: str) -> Tensor:
    """``weight`` [H, H], once it is seen to be orthogonal.

    Raises:
        InvalidFileError: it is not, by 0.05 in an entry of W W^t and more.
    """
    deviation = float((weight @ weight.T - torch.eye(len(weight))).abs().max())
    if not deviation <= _LARGEST_DEVIATION:
        raise InvalidFileError(
            f"{source}: the recurrent weight of {name} deviates from an orthogonal matrix by {deviation:.3g} in W W^T, "
            f"expected at most {_LARGEST_DEVIATION}; the side-car names another library, tensor or parametrization"
        )
    return weight
