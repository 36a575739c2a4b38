"""Windows of images: what convolutions and pools read, by look-ups along one axis at a time.

Channels lie last. Along all axes of the image but the last, each tap of the window is a look-up of its own; along the last
one a look-up takes all taps. Look-ups of rows need few indices: a table of all windows would be larger than the weights.
"""

from __future__ import annotations

import itertools
import math
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
    """``[*S, C]`` as ``[1, C, *S]``; :func:`channels_last` of the result is x."""
    rank = len(x.shape)
    return code.transpose(code.reshape(x, (1, *x.shape)), [0, rank, *range(1, rank)])


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

    def padded(self, code: Code, x: Value, fill: int, *, before: int = 0) -> Value:
        """``[*S, C]`` with one entry more at the end of each padded axis, which holds ``fill``: all pads read it.

        Args:
            code: where operators go.
            x: the image, behind ``before`` axes of others.
            fill: what pads hold.
            before: how many axes stand before those of the image.
        """
        axes = len(self.size)
        for axis in range(axes):
            if self.pads[axis] or self.pads[axis + axes]:
                shape = [size if size is not None else 1 for size in x.shape]
                shape[axis + before] = 1
                x = code.concatenate([x, code.subgraph.constant(np.full(shape, fill), x.dtype)], axis + before)
        return x

    def places(self, axis: int, taps: list[int]) -> NDArray[Any]:
        """Where the taps of every window lie on an axis, ``[out * taps]``; pads lie behind the end."""
        starts = np.arange(self.out[axis]) * self.strides[axis] - self.pads[axis]
        found = (starts[:, None] + np.array(taps) * self.dilations[axis]).reshape(-1)
        return np.where((found < 0) | (found >= self.size[axis]), self.size[axis], found)

    def rows(self, code: Code, x: Value, *, before: int = 0) -> Value:
        """Every window's entries, ``[*B, P, taps * C]``, of a padded image ``[*B, *S, C]``.

        Args:
            code: where operators go.
            x: the image, padded.
            before: how many axes B stand before those of the image.
        """
        axes, others = len(self.size), x.shape[:before]
        last = code.subgraph.constant(self.places(axes - 1, list(range(self.kernel[-1]))))
        found = []
        for _, value in self._looked_up(code, x, axes - 1, before):
            along = code.gather(value, last, axis=before + axes - 1)
            width = self.kernel[-1] * (x.shape[-1] or 0)
            found.append(code.reshape(along, (*others, math.prod(self.out), width)))
        return found[0] if len(found) == 1 else code.concatenate(found, before + 1)

    def taps(self, code: Code, x: Value) -> Iterator[Value]:
        """Every window's entries ``[*out, C]``, tap by tap, of a padded image ``[*S, C]``."""
        for _, value in self._looked_up(code, x, len(self.size), 0):
            yield value

    def _looked_up(self, code: Code, x: Value, axes: int, before: int) -> Iterator[tuple[tuple[int, ...], Value]]:
        """Each tap of the first ``axes`` axes, and the image with those axes as windows have them."""
        known: dict[tuple[int, ...], Value] = {(): x}
        for tap in itertools.product(*(range(self.kernel[axis]) for axis in range(axes))):
            for depth in range(1, len(tap) + 1):
                if tap[:depth] not in known:
                    places = code.subgraph.constant(self.places(depth - 1, [tap[depth - 1]]))
                    known[tap[:depth]] = code.gather(known[tap[: depth - 1]], places, axis=before + depth - 1)
            yield tap, known[tap]
