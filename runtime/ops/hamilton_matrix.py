"""HamiltonMatrix: the real matrix of a quaternion layer from its four components."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("HamiltonMatrix", outputs=("weight",))
def hamilton_matrix(
    node: Node,
    r: IntArray,
    i: IntArray | None = None,
    j: IntArray | None = None,
    k: IntArray | None = None,
    *,
    grouping: str,
) -> tuple[IntArray, ...]:
    """L(w) = [[r,-i,-j,-k],[i,r,-k,j],[j,k,r,-i],[k,-j,i,r]], so that L(w) x is the Hamilton product w (x) x.

    Args:
        r, i, j, k: int8 ``[out/4, in/4, *kernel]`` in [-127, 127] (-128 has no negative); a convolution has kernel
            dimensions, a linear layer has none. Or r alone, ``[out, in/4, *kernel]``: the four one after the other.
        grouping: how the input's channels hold its quaternions: ``blocked`` is [r... i... j... k...], ``adjacent`` is
            [r0 i0 j0 k0 r1 ...]. Outputs are always blocked.

    Returns:
        int8 ``[out, in, *kernel]``. It depends on constants only, so runtimes fold it at load: the file keeps a quarter of
        the weights. Source: Parcollet et al., "Quaternion Recurrent Neural Networks", equation 3.
    """
    if "weight" not in node.cache:
        node.require(r.ndim >= 2 and r.size > 0, f"r has shape {list(r.shape)}; expected [out/4, in/4, *kernel].")
        if i is None and j is None and k is None:
            node.require(r.shape[0] % 4 == 0, f"r alone has {r.shape[0]} rows; expected those of r, i, j and k.")
            r, i, j, k = np.split(r, 4)
        if i is None or j is None or k is None:
            raise ContractError(f"node {node.name}: of i, j and k some are missing; expected all or none.")
        for name, component in (("r", r), ("i", i), ("j", j), ("k", k)):
            node.require_dtype(name, component, np.int8)
            node.require_shape(name, component, *r.shape)
            node.require(int(component.min()) > -128, f"{name} holds -128, which has no negative in int8.")
        node.require(
            grouping in ("blocked", "adjacent"), f"grouping is {grouping!r}; expected 'blocked' or 'adjacent'."
        )
        rows = [[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]]
        blocks = np.array(rows)  # [4, 4, out/4, in/4, *kernel]
        order = (0, 2, 1, 3) if grouping == "blocked" else (0, 2, 3, 1)
        matrix = blocks.transpose(*order, *range(4, blocks.ndim))
        node.cache["weight"] = np.ascontiguousarray(matrix.reshape(4 * r.shape[0], 4 * r.shape[1], *r.shape[2:]))
    return (node.cache["weight"],)
