"""Convolutions over quaternions whose parts lie side by side in memory, ``[r0 i0 j0 k0 r1 ...]``, as matrices in blocks.

Separable networks order channels so between a pointwise convolution and one of groups of four. The components of the weights
are found behind that order, and what reads and writes channels keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdeploy.export.c.product import compact_form
from qdeploy.runtime.numeric import IntArray

__all__ = ["QuaternionOrder", "by_parts", "quaternion_order"]

PARTS = 4


@dataclass(frozen=True)
class QuaternionOrder:
    """The weights of a convolution that is a Hamilton matrix once channels are in blocks.

    Attributes:
        weight: int8 ``[N, C, *K]``, both axes in blocks ``[r... i... j... k...]``.
        inputs, outputs: whether the channels of x, and those of y, lie side by side instead.
    """

    weight: IntArray
    inputs: bool
    outputs: bool


def quaternion_order(weight: IntArray, kind: str, tile: int) -> QuaternionOrder | None:
    """The order in which the weight ``[N, C, *K]`` has components that take less than the matrix, or None."""
    if weight.shape[0] % PARTS or weight.shape[1] % PARTS:
        return None
    # Kernels that take parts apart and put them together read and write bytes.
    choices = (False, True) if kind == "u8" else (False,)
    for outputs in choices:
        rows = by_parts(weight, 0) if outputs else weight
        for inputs in choices:
            blocked = by_parts(rows, 1) if inputs else rows
            # A kernel's places are columns like any other: the matrix [N, C *K] has the structure of every place.
            if compact_form(blocked.reshape(len(blocked), -1), kind, tile) is not None:
                return QuaternionOrder(np.ascontiguousarray(blocked), inputs, outputs)
    return None


def by_parts(values: IntArray, axis: int) -> IntArray:
    """Entries of an axis in blocks of parts, which were side by side."""
    shape = values.shape
    split = values.reshape(*shape[:axis], shape[axis] // PARTS, PARTS, *shape[axis + 1 :])
    return np.swapaxes(split, axis, axis + 1).reshape(shape)
