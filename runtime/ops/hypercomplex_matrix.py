"""HypercomplexMatrix: the real matrix of a layer over any algebra, from its table and its components."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.model_sizes import LARGEST_RESULT
from qdeploy.runtime.numeric import MAX_SHIFT, IntArray
from qdeploy.runtime.ops.operator import Node, operator

MOST_COMPONENTS = 256
"""So many products of an int16 and an int8 fit an int32 with their sum: 256 * 2^15 * 127 < 2^31."""


@operator("HypercomplexMatrix", outputs=("weight",))
def hypercomplex_matrix(
    node: Node,
    algebra: IntArray,
    components: IntArray,
    factors: IntArray,
    *,
    grouping: str,
    output_grouping: str,
    shift: int,
) -> tuple[IntArray, ...]:
    """W = clip(floor((sum_i kron(A_i, S_i) * factor + 2^(shift-1)) / 2^shift), -127, 127), at shift 0 nothing is added.

    kron(A_i, S_i) has the block A_i[p, u] S_i at block row p and block column u; of a convolution, S_i has a kernel at
    every place, and the factor A_i[p, u] multiplies all of it. An algebra with one element of {-1, 0, 1} for each pair
    (p, u), shift 0 and factor 1 copies, negates and leaves out blocks and rounds nothing: complex numbers, quaternions
    in any order, octonions; also the nine entries of rotation matrices.

    Args:
        algebra: int8 or int16 ``[d, P, U]``, A, d at most 256, none of the type's lowest value.
        components: int8 ``[d, Q, V, *kernel]``, S, in [-127, 127].
        factors: int16 ``[1]`` or ``[P * Q]``, one for each row of W, in [0, 32767].
        grouping: how the input's channels are ordered: ``blocked`` has u first, [u0 v0, u0 v1, ...], ``adjacent`` v.
        output_grouping: the same of the output's channels, p and q.
        shift: 0 to 46.

    Returns:
        int8 ``[P * Q, U * V, *kernel]``. It depends on constants only, so runtimes fold it at load: for d = P = U = n the
        file keeps n^3 + N K / n numbers of N K. The sums are below 2^31, their products with a factor below 2^46.
        Source: Zhang et al., "Beyond fully-connected layers with quaternions", arXiv 2102.08597, equation 3.
    """
    if "weight" not in node.cache:
        _check(node, algebra, components, factors)
        for name, value in (("grouping", grouping), ("output_grouping", output_grouping)):
            node.require(value in ("blocked", "adjacent"), f"{name} is {value!r}; expected 'blocked' or 'adjacent'.")
        node.require(0 <= shift <= MAX_SHIFT, f"shift is {shift}; expected 0 to {MAX_SHIFT}.")
        count, p, u = algebra.shape
        q, v, *kernel = components.shape[1:]
        # Sums below 2^31 are exact in float64, whose products are fast.
        sums = algebra.reshape(count, p * u).T.astype(np.float64) @ components.reshape(count, -1).astype(np.float64)
        rows = (0, 2) if output_grouping == "blocked" else (2, 0)
        columns = (1, 3) if grouping == "blocked" else (3, 1)
        ordered = sums.astype(np.int64).reshape(p, u, q, v, -1).transpose(*rows, *columns, 4).reshape(p * q, -1)
        scaled = ordered * factors.astype(np.int64)[:, None] + ((1 << shift) >> 1)
        matrix = np.clip(scaled >> shift, -127, 127).astype(np.int8)
        node.cache["weight"] = matrix.reshape(p * q, u * v, *kernel)
    return (node.cache["weight"],)


def _check(node: Node, algebra: IntArray, components: IntArray, factors: IntArray) -> None:
    node.require_dtype("algebra", algebra, np.int8, np.int16)
    node.require_shape("algebra", algebra, None, None, None)
    node.require(len(algebra) <= MOST_COMPONENTS, f"{len(algebra)} components; expected at most {MOST_COMPONENTS}.")
    lowest = int(np.iinfo(algebra.dtype).min)
    node.require(int(algebra.min()) > lowest, f"algebra holds {lowest}, which has no negative in {algebra.dtype}.")
    node.require_dtype("components", components, np.int8)
    node.require(
        components.ndim >= 3 and components.size > 0 and len(components) == len(algebra),
        f"components have shape {list(components.shape)}; expected [{len(algebra)}, Q, V, *kernel].",
    )
    node.require(int(components.min()) > -128, "components hold -128, which has no negative in int8.")
    rows = algebra.shape[1] * components.shape[1]
    size = algebra[0].size * components[0].size
    node.require(size <= LARGEST_RESULT, f"a matrix of {size} entries; expected at most {LARGEST_RESULT}.")
    node.require_dtype("factors", factors, np.int16)
    node.require(
        factors.shape in ((1,), (rows,)), f"factors have shape {list(factors.shape)}; expected [1] or [{rows}]."
    )
    node.require(int(factors.min()) >= 0, f"a factor is {factors.min()}; expected none below 0.")
