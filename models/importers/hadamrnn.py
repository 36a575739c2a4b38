"""QORNN, HadamRNN and Block-HadamRNN in the authors' layout (arXiv 2402.04012 and 2502.00047).

Facts of github.com/deel-ai-papers/hadamRNN: ``recurrent_layer.sign_vector`` [1, H] says the signs; the matrix beside it
(``...parametrizations.weight.original`` [H, H]) is not used, and the parametrization may repeat the signs. The input and the
output layer are on the q_k grid by a parametrization, or plain. Neither k nor the block's size is in the file. A network of
two layers has ``recurrent_layer_2`` too. modReLU adds 1e-6 to |a|.
"""

from __future__ import annotations

import torch

from qdeploy.models.bjorck import bjorck_orthogonalize
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .library import Library, Recurrent, check_orthogonal
from .side_car import SideCar
from .tensors import Tensors

__all__ = ["LIBRARY"]


def _read(tensors: Tensors, name: str, side_car: SideCar) -> Recurrent:
    layer = name.removesuffix(".weight")
    if f"{layer}_2.sign_vector" in tensors:
        raise UnsupportedModelError(
            f"{tensors.source}: has {layer}_2, the second layer of a two-layer HadamRNN; one layer is imported (the "
            "authors' SINGLE_LAYER)"
        )
    if side_car.parametrization in (None, "hadamard"):
        return _signs(tensors, layer, side_car)
    raw = tensors.raw(name)
    size = len(tensors.take(raw, None, None))
    weight = tensors.take(raw, size, size)
    if side_car.parametrization == "bjorck":
        with torch.no_grad():
            weight = bjorck_orthogonalize(weight)
    return Recurrent.matrix(check_orthogonal(weight, name, tensors.source))


def _signs(tensors: Tensors, layer: str, side_car: SideCar) -> Recurrent:
    signs = tensors.take(f"{layer}.sign_vector", 1, None)[0]
    zeros = int((signs == 0).sum())
    if zeros:
        raise InvalidFileError(
            f"{tensors.source}: {layer}.sign_vector has {zeros} zeros, whose sign is none; expected trained signs"
        )
    again = f"{layer}.parametrizations.weight.0.sign_vector"
    if again in tensors and not torch.equal(tensors.take(again, 1, len(signs))[0], signs):
        raise InvalidFileError(f"{tensors.source}: {again} differs from {layer}.sign_vector, expected the same signs")
    tensors.leave(f"{layer}.parametrizations.weight.original")
    size = len(signs)
    block = size if side_car.block_size is None else side_car.block_size
    if block & (block - 1) or size % block:
        raise InvalidFileError(
            f"{side_car.source}: block_size={side_car.block_size} for {size} units in {tensors.source}, expected a power "
            "of two that divides them"
        )
    return Recurrent({"recurrent.sign_vector": signs}, size, {"orthogonal": "hadamard", "block_size": block})


LIBRARY = Library(
    layouts=(
        {
            "recurrent_weight": "recurrent_layer.weight",
            "recurrent_bias": "recurrent_layer.bias",
            "input_weight": "input_layer.weight",
            "input_bias": "input_layer.bias",
            "modrelu_bias": "activation.b",
            "output_weight": "output_layer.weight",
            "output_bias": "output_layer.bias",
        },
    ),
    read=_read,
    parametrizations=("hadamard", "bjorck", "none"),
    epsilon=1e-6,
)
