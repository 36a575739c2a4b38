"""Recurrent matrices that are signs times a Hadamard matrix: recognised by their integers, stored as one bit a unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize.integer_graph import IntegerGraph
from qdeploy.quantize.weights import QuantizedWeight
from qdeploy.runtime.model_sizes import LARGEST_RESULT
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.ops.hadamard_matrix import pack_signs


@dataclass(frozen=True)
class HadamardSigns:
    """``integers = diag(signs) blockdiag(S_B, ..., S_B)``.

    Attributes:
        packed: uint8 ``[ceil(H / 8)]``, as HadamardMatrix takes them.
        size, block: H and B.
        scale: float64 ``[1]``, the value of an entry.
    """

    packed: NDArray[np.uint8]
    size: int
    block: int
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, weight: QuantizedWeight) -> HadamardSigns | None:
        """Those of ``weight`` ``[N, K]``, or None where it is no such matrix, of blocks of two units at least.

        Every integer is compared: a matrix that is recognised comes back as it was.
        """
        integers = weight.integers
        size = len(integers)
        if integers.shape != (size, size) or weight.scale.size > 1 or not weight.exact_grid:
            return None
        if size * size > LARGEST_RESULT:
            return None
        block = int(np.count_nonzero(integers[0]))
        if block < 2 or block & (block - 1) or size % block:
            return None
        # The first column of a Sylvester matrix is all ones.
        units = np.arange(size)
        packed = pack_signs(integers[units, units - units % block])
        (matrix,) = OPERATORS["HadamardMatrix"].meaning(Node("weight"), packed, size=size, block=block)
        return cls(packed, size, block, weight.scale) if (matrix == integers).all() else None

    def write(self, graph: IntegerGraph, name: str) -> None:
        """Adds the signs, and the node that makes the matrix ``name`` of them."""
        signs = f"{name}.signs"
        if signs not in graph.constants_info:
            graph.constant(signs, self.packed, bits=1, scale=self.scale)
            graph.node("HadamardMatrix", [signs], [name], f"{name}.matrix", size=self.size, block=self.block)
