"""The tensors of one layer in another library's state dict; what is taken leaves it, so that what is left can be named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

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
        expected: shapes by name, where something else than the tensors says them.
    """

    state: dict[str, Tensor]
    prefix: str
    where: str
    expected: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return f"{self.prefix}{name}" in self.state

    def expecting(self, shapes: Mapping[str, tuple[int, ...]], absent: Iterable[str] = ()) -> Stored:
        """This layer's tensors, which have to be there in these ``shapes``, and none of the names that are ``absent``.

        Raises:
            InvalidFileError: one is missing, or there against expectation.
        """
        for name in shapes:
            if name not in self:
                raise self._missing(f"{self.prefix}{name}")
        for name in absent:
            if name in self:
                raise InvalidFileError(
                    f"{self.where}: tensor {self.prefix}{name} is there, which such a layer has not; expected none of that name"
                )
        return replace(self, expected=shapes)

    def take(self, name: str, *shape: int | None) -> Tensor:
        """The tensor ``name`` as float32; ``None`` in ``shape`` stands for any length, no ``shape`` for any shape.

        A shape in ``expected`` comes before that.

        Raises:
            InvalidFileError: none of this name, another shape, no floats, NaN or infinite values.
        """
        full = f"{self.prefix}{name}"
        if full not in self.state:
            raise self._missing(full)
        found = self._finite(full, self.state.pop(full))
        shape = self.expected.get(name, shape)
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

    def _missing(self, full: str) -> InvalidFileError:
        here = sorted(key for key in self.state if key.startswith(self.prefix)) or sorted(self.state)
        return InvalidFileError(f"{self.where}: tensor {full!r} is missing; found {', '.join(here[:12]) or 'nothing'}")

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
