"""Quaternion components of other libraries' tensors, copied into layers here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from qdeploy.models.quaternion_recurrent import QuaternionRecurrent
from qdeploy.runtime.errors import InvalidFileError

__all__ = ["components_of", "copy_layer", "taken"]


def taken(state: dict[str, Tensor], name: str, where: str) -> Tensor:
    """The tensor ``name``, as float32, removed from ``state``.

    Raises:
        InvalidFileError: there is none, or it holds NaN or infinite values.
    """
    if name not in state:
        raise InvalidFileError(
            f"{where}: tensor {name!r} is missing; found {', '.join(sorted(state)[:12]) or 'nothing'}"
        )
    found = state.pop(name).detach().to(torch.float32)
    if not torch.isfinite(found).all():
        raise InvalidFileError(f"{where}: tensor {name} holds NaN or infinite values; the training diverged")
    return found


def components_of(state: dict[str, Tensor], prefix: str, where: str) -> list[Tensor]:
    """``r, i, j, k`` [out, in] of a product stored as ``<prefix>.r_weight`` ..., each [in, out].

    Raises:
        InvalidFileError: one is missing, or their shapes differ.
    """
    parts = [taken(state, f"{prefix}.{part}_weight", where) for part in "rijk"]
    if any(part.dim() != 2 or part.shape != parts[0].shape for part in parts):
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise InvalidFileError(
            f"{where}: the components of {prefix} have the shapes {shapes}, expected one matrix shape"
        )
    return [part.t() for part in parts]


def copy_layer(
    layer: QuaternionRecurrent,
    given: Sequence[Tensor],
    recurrent: Sequence[Tensor],
    others: Mapping[str, Tensor],
    where: str,
) -> None:
    """Copies components and other parameters into ``layer``.

    Raises:
        InvalidFileError: a shape that is not the layer's.
    """
    found = {
        **{f"input_{part}_weight": tensor for part, tensor in zip("rijk", given, strict=True)},
        **{f"recurrent_{part}_weight": tensor for part, tensor in zip("rijk", recurrent, strict=True)},
        **others,
    }
    with torch.no_grad():
        for name, tensor in found.items():
            parameter = layer.get_parameter(name)
            if parameter.shape != tensor.shape:
                raise InvalidFileError(
                    f"{where}: {name} has the shape {list(tensor.shape)}, expected {list(parameter.shape)}"
                )
            parameter.copy_(tensor)
