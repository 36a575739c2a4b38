"""Recurrent matrices that are signs times a Hadamard matrix: recognised by their integers, stored as one bit a unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize.integer_graph import IntegerGraph
from qdeploy.quantize.weights import QuantizedWeight
from qdeploy.runtime.ops.hadamard_matrix import hadamard_signs, pack_signs


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
        if weight.scale.size > 1 or not weight.exact_grid:
            return None
        found = hadamard_signs(weight.integers)
        if found is None:
            return None
        signs, block = found
        return cls(pack_signs(signs), len(signs), block, weight.scale)

    def write(self, graph: IntegerGraph, name: str) -> None:
        """Adds the signs, and the node that makes the matrix ``name`` of them."""
        signs = f"{name}.signs"
        if signs not in graph.constants_info:
            graph.constant(signs, self.packed, bits=1, scale=self.scale)
            graph.node("HadamardMatrix", [signs], [name], f"{name}.matrix", size=self.size, block=self.block)
