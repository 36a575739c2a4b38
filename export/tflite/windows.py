"""Windows of images: what convolutions and pools read, by look-ups along one axis at a time.

Channels lie last. Along all axes of the image but the last, each tap of the window is a look-up of its own; along the last
one all taps stand side by side, so that a product takes them at once. Look-ups of rows need few indices: a table of all
windows would be larger than the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.writer import Value

__all__ = ["Windows", "channels_last", "channels_second"]


def channels_last(code: Code, x: Value) -> Value:
    """``[1, C, *S]`` as ``[*S, C]``."""
    rank = len(x.shape)
    moved = code.transpose(x, [0, *range(2, rank), 1])
    return code.reshape(moved, moved.shape[1:])


def channels_second(code: Code, x: Value) -> Value:
    """``[*S, C]`` as ``[1, C, *S]``."""
    rank = len(x.shape)
    moved = code.transpose(x, [rank - 1, *range(rank - 1)])
    return code.reshape(moved, (1, *moved.shape))


@dataclass(frozen=True)
class Windows:
    """The geometry of a convolution or a pool.

    Attributes:
        size: of the image, one number an axis, as are all others.
        kernel, strides, dilations: of the window.
        pads: of the beginnings of all axes, then of their ends.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def out(self) -> tuple[int, ...]:
        """The size of the result."""
        axes = len(self.size)
        return tuple(
            (self.size[a] + self.pads[a] + self.pads[a + axes] - self.dilations[a] * (self.kernel[a] - 1) - 1)
            // self.strides[a]
            + 1
            for a in range(axes)
        )

    def padded(self, code: Code, x: Value, fill: int) -> Value:
        """``[*S, C]`` with one entry more at the end of each padded axis, which holds ``fill``: all pads read it."""
        axes = len(self.size)
        for axis in range(axes):
            if self.pads[axis] or self.pads[axis + axes]:
                shape = [size if size is not None else 1 for size in x.shape]
                shape[axis] = 1
                x = code.concatenate([x, code.subgraph.constant(np.full(shape, fill), x.dtype)], axis)
        return x

    def places(self, axis: int, taps: list[int]) -> NDArray[Any]:
        """Where the taps of every window lie on an axis, ``[out * taps]``; pads lie behind the end."""
        starts = np.arange(self.out[axis]) * self.strides[axis] - self.pads[axis]
        found = (starts[:, None] + np.array(taps) * self.dilations[axis]).reshape(-1)
        return np.where((found < 0) | (found >= self.size[axis]), self.size[axis], found)

    def taps(self, code: Code, x: Value, *, together: bool) -> Iterator[tuple[tuple[int, ...], Value]]:
        """Every window's entries, tap by tap, of a padded image.

        Args:
            code: where the look-ups go.
            x: ``[*S, C]``, padded.
            together: whether the taps of the last axis come at once.

        Yields:
            the tap (of all axes but the last, with ``together``), and ``[*out, C]``, or ``[*out, kernel[-1], C]``.
        """
        axes = len(self.size)
        single = axes - 1 if together else axes
        known: dict[tuple[int, ...], Value] = {(): x}
        for tap in itertools.product(*(range(self.kernel[axis]) for axis in range(single))):
            for depth in range(1, len(tap) + 1):
                if tap[:depth] not in known:
                    places = code.subgraph.constant(self.places(depth - 1, [tap[depth - 1]]))
                    known[tap[:depth]] = code.gather(known[tap[: depth - 1]], places, axis=depth - 1)
            value = known[tap]
            if together:
                places = code.subgraph.constant(self.places(axes - 1, list(range(self.kernel[-1]))))
                value = code.gather(value, places, axis=axes - 1)
                value = code.reshape(value, (*self.out, self.kernel[-1], x.shape[-1]))
            yield tap, value
