"""The tensors of one layer in another library's state dict; what is taken leaves it, so that what is left can be named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from qdeploy.runtime.errors import InvalidFileError

__all__ = ["Stored", "conjugated", "positive_definite"]

_PARTS = ("r_weight", "i_weight", "j_weight", "k_weight")


@dataclass(frozen=True)
class Stored:
    """A layer's tensors in a state dict.

    Attributes:
        state: the whole state dict; what is taken is removed from it.
        prefix: what stands before the layer's names, with its dot.
        where: the layer, for messages.
    """

    state: dict[str, Tensor]
    prefix: str
    where: str

    def __contains__(self, name: str) -> bool:
        full = f"{self.prefix}{name}"
        return full in self.state or f"{full}_orig" in self.state

    def take(self, name: str, *shape: int | None) -> Tensor:
        """The tensor ``name`` as float32; ``None`` in ``shape`` stands for any length, no ``shape`` for any shape.

        A tensor under ``torch.nn.utils.prune`` (``name_orig`` and ``name_mask``) is their product.

        Raises:
            InvalidFileError: none of this name, another shape, no floats, NaN or infinite values.
        """
        full = f"{self.prefix}{name}"
        if full in self.state:
            found = self._finite(full, self.state.pop(full))
        elif f"{full}_orig" in self.state and f"{full}_mask" in self.state:
            original, mask = self.state.pop(f"{full}_orig"), self.state.pop(f"{full}_mask")
            if original.shape != mask.shape:
                raise InvalidFileError(
                    f"{self.where}: {full}_orig is {list(original.shape)} and its mask {list(mask.shape)}, expected one shape"
                )
            found = self._finite(full, original) * mask.to(torch.float32)
        else:
            here = sorted(key for key in self.state if key.startswith(self.prefix)) or sorted(self.state)
            raise InvalidFileError(
                f"{self.where}: tensor {full!r} is missing; found {', '.join(here[:12]) or 'nothing'}"
            )
        fits = not shape or (
            found.dim() == len(shape)
            and all(wanted in (None, length) for wanted, length in zip(shape, found.shape, strict=True))
        )
        if not fits:
            wanted = ", ".join("any" if length is None else str(length) for length in shape)
            raise InvalidFileError(f"{self.where}: {full} has the shape {list(found.shape)}, expected [{wanted}]")
        return found

    def optional(self, name: str, *shape: int | None) -> Tensor | None:
        """``take``, or ``None`` where there is none of this name."""
        return self.take(name, *shape) if name in self else None

    def components(self, names: Iterable[str] = _PARTS) -> list[Tensor]:
        """``r, i, j, k`` of a quaternion weight, all of one shape with two dimensions at least.

        Raises:
            InvalidFileError: one is missing or empty, or their shapes differ.
        """
        parts = [self.take(name) for name in names]
        if any(part.dim() < 2 or part.shape != parts[0].shape or not part.numel() for part in parts):
            shapes = ", ".join(str(list(part.shape)) for part in parts)
            raise InvalidFileError(
                f"{self.where}: the components of the weight have the shapes {shapes}, expected one shape of two dimensions "
                "or more"
            )
        return parts

    def drop(self, *names: str) -> None:
        """Leaves out tensors of these names, where there are any: they hold nothing that was trained."""
        for name in names:
            self.state.pop(f"{self.prefix}{name}", None)

    def _finite(self, name: str, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            raise InvalidFileError(f"{self.where}: {name} holds {tensor.dtype}, expected floats")
        found = tensor.detach().to(torch.float32)
        if not torch.isfinite(found).all():
            raise InvalidFileError(f"{self.where}: {name} holds NaN or infinite values; the training diverged")
        return found


def conjugated(parts: list[Tensor]) -> list[Tensor]:
    """The components of ``conj(w)``."""
    r, i, j, k = parts
    return [r, -i, -j, -k]


def positive_definite(covariance: Tensor) -> bool:
    """Whether all of ``covariance`` [C, n, n] have a Cholesky factor."""
    _, failed = torch.linalg.cholesky_ex(covariance)
    return not bool(failed.any())
