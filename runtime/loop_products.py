"""The two products of a recurrent loop, W h and U x, in the types in which they are exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.accumulator import INT32_REACH
from qdeploy.runtime.numeric import IntArray, product_bound, product_type


@dataclass(frozen=True)
class LoopProducts:
    """What a loop derives once from its weights, for ``numeric.exact_matmul``.

    Attributes:
        recurrent, input: W and U transposed, in the type of an exact product.
        recurrent_bound, input_bound: of every partial sum.
        proven: whether no accumulator can leave int32.
    """

    recurrent: IntArray
    recurrent_bound: int
    input: IntArray
    input_bound: int
    proven: bool

    @classmethod
    def of(
        cls,
        recurrent_weight: IntArray,
        input_weight: IntArray,
        *,
        h_largest: int,
        x_largest: int,
        reach: NDArray[np.object_],
    ) -> LoopProducts:
        """Of int8 weights ``[N, H]`` and ``[N, I]``, the largest |h - z_h| and |x - z_x|, and the accumulators' bounds."""
        recurrent_bound = product_bound(recurrent_weight, h_largest)
        input_bound = product_bound(input_weight, x_largest)
        return cls(
            recurrent=np.ascontiguousarray(recurrent_weight.T.astype(product_type(recurrent_bound))),
            recurrent_bound=recurrent_bound,
            input=np.ascontiguousarray(input_weight.T.astype(product_type(input_bound))),
            input_bound=input_bound,
            proven=int(reach.max()) < INT32_REACH,
        )
