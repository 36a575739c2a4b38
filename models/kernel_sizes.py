"""Sizes along the axes of a convolution, as torch's layers take them: one for all, or one for each."""

from __future__ import annotations

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["Sizes", "kernel_sizes"]

Sizes = int | tuple[int, ...]


def kernel_sizes(name: str, value: Sizes, dimensions: int, least: int) -> tuple[int, ...]:
    """``value`` for each of ``dimensions``.

    Args:
        name: of the argument, for errors.
        least: the smallest size allowed.

    Raises:
        InvalidInputError: another number of sizes, or one below ``least``.
    """
    sizes = (value,) * dimensions if isinstance(value, int) else tuple(value)
    if len(sizes) != dimensions or any(size < least for size in sizes):
        raise InvalidInputError(f"{name}={value!r}: expected an integer or {dimensions} integers, none below {least}")
    return sizes
