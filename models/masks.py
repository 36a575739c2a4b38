"""Masks of pruned weights, in the form of ``torch.nn.utils.prune``: ``NAME_orig`` times ``NAME_mask`` is the weight."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError

__all__ = ["MASK", "ORIGINAL", "apply_masks", "check_mask", "masked_products", "masks_of", "stored"]

ORIGINAL = "_orig"
MASK = "_mask"


def check_mask(mask: Tensor, original: Tensor, name: str, source: str) -> None:
    """A mask holds 0 and 1 alone, and has its weight's shape.

    Raises:
        InvalidFileError: otherwise, with the tensor's name.
    """
    if mask.shape != original.shape:
        raise InvalidFileError(
            f"{source}: {name}{MASK} has the shape {list(mask.shape)}, but {name}{ORIGINAL} {list(original.shape)}; "
            "expected one shape: a mask says of each weight whether it stays"
        )
    wrong = ~((mask == 0) | (mask == 1))
    if bool(wrong.any()):
        place = tuple(int(index) for index in wrong.nonzero()[0])
        raise InvalidFileError(
            f"{source}: {name}{MASK} holds {mask[place].item()!r} at index {list(place)}, expected 0 (pruned) or 1; "
            "weights that are scaled and not pruned belong into the weight itself"
        )


def masked_products(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors, each ``NAME_orig`` and ``NAME_mask`` replaced by ``NAME``, whose pruned entries are exactly 0.

    Args:
        tensors: by name, as a state dict has them; masks are of any type.
        source: names the file in messages.

    Raises:
        InvalidFileError: a mask that is not of 0 and 1, of another shape, or without its weight, or beside ``NAME`` itself.
    """
    merged = dict(tensors)
    for key in tensors:
        # A mask by itself is the affair of the library that wrote it (padding, dropout): original weights make it ours.
        name = key.removesuffix(ORIGINAL)
        if name == key:
            continue
        if name + MASK not in tensors:
            # torch.nn.utils.weight_norm and spectral_norm have names of this kind, too.
            continue
        original, mask = merged.pop(key), merged.pop(name + MASK)
        if name in tensors:
            raise InvalidFileError(
                f"{source}: holds {name} beside {key} and {name}{MASK}, expected the weight or its two factors"
            )
        check_mask(mask, original, name, source)
        # Not by a product: an original that was pruned because it is infinite would give NaN, and -1 * 0 is -0.
        merged[name] = torch.where(mask == 1, original, torch.zeros_like(original))
    return merged


def apply_masks(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Prunes ``module`` in place: its parameters ``NAME`` become ``NAME_orig`` and ``NAME_mask``.

    Args:
        module: on any device, the meta device too.
        masks: by the parameters' names, of 0 and 1.

    Raises:
        InvalidInputError: a name that is no parameter of the module.
    """
    parameters = dict(module.named_parameters())
    for name, mask in masks.items():
        if name not in parameters:
            raise InvalidInputError(
                f"mask of {name!r}: the module has no such parameter; it has {', '.join(parameters)}"
            )
        path, _, attribute = name.rpartition(".")
        owner, parameter = module.get_submodule(path), parameters[name]
        check_mask(mask, parameter, name, "mask")
        with torch.no_grad():
            # Without a gradient the product that prune keeps as a plain attribute can be copied with the module.
            prune.custom_from_mask(owner, attribute, mask.to(parameter.device, parameter.dtype))


def masks_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masks in a state dict, by the names of the weights."""
    return {
        name.removesuffix(MASK): tensor
        for name, tensor in tensors.items()
        if name.endswith(MASK) and name.removesuffix(MASK) + ORIGINAL in tensors
    }


def stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as a file keeps it: masks as truth values of a byte each, pruned originals 0, which compresses well.

    Raises:
        InvalidFileError: a mask that is not of 0 and 1, or of another shape than its weight.
    """
    smaller = dict(tensors)
    for name, mask in masks_of(tensors).items():
        original = tensors[name + ORIGINAL]
        check_mask(mask, original, name, "checkpoint")
        kept = mask == 1
        smaller[name + MASK] = kept
        smaller[name + ORIGINAL] = torch.where(kept, original, torch.zeros_like(original))
    return smaller
