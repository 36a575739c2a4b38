"""HadamardMatrix: the recurrent matrix of HadamRNN and Block-HadamRNN from one sign a unit."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.model_sizes import LARGEST_RESULT
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("HadamardMatrix", outputs=("weight",))
def hadamard_matrix(node: Node, signs: IntArray, *, size: int, block: int) -> tuple[IntArray, ...]:
    """W = diag(u) blockdiag(S_B, ..., S_B), with u_i = 1 - 2 bit_i and S_B the Sylvester matrix of B = ``block`` units.

    S_1 = [1] and S_2N = [[S_N, S_N], [S_N, -S_N]], so that S[i, j] is +1 where i and j have an even number of binary
    ones in common, else -1. W / sqrt(B) is orthogonal; the 1 / sqrt(B) is part of the reading layer's multiplier.

    Args:
        signs: uint8 ``[ceil(size / 8)]``; bit_i is bit ``i mod 8`` of byte ``i // 8``, the last byte's unused bits are 0.
        size: H, a multiple of ``block``; H^2 at most 2^26.
        block: B, a power of two.

    Returns:
        int8 ``[H, H]`` of -1, 0 (outside the blocks) and 1. It depends on constants only, so runtimes fold it at load: the
        file keeps one bit a unit. A target without a fast matrix product takes W h as a fast Walsh-Hadamard transform
        instead, of H log2(B) additions. Source: Foucault, Mamalet, Malgouyres, arXiv 2502.00047.
    """
    node.require_dtype("signs", signs, np.uint8)
    node.require(
        block > 0 and block & (block - 1) == 0 and size > 0 and size % block == 0,
        f"size={size}, block={block}; expected a power of two that divides the size.",
    )
    node.require(
        size * size <= LARGEST_RESULT, f"size={size}; expected at most {LARGEST_RESULT} entries of the matrix."
    )
    node.require_shape("signs", signs, -(-size // 8))
    if "weight" not in node.cache:
        bits = np.unpackbits(signs, bitorder="little")
        node.require(not bits[size:].any(), "an unused bit of the last byte of signs is set.")
        column = 1 - 2 * bits[:size].astype(np.int8)
        blocks = np.kron(np.eye(size // block, dtype=np.int8), hadamard_transform(np.eye(block, dtype=np.int8)))
        node.cache["weight"] = column[:, None] * blocks
    return (node.cache["weight"],)


def hadamard_transform(values: IntArray) -> IntArray:
    """``values`` ``[..., N]`` times S_N, by the fast Walsh-Hadamard transform; N is a power of two.

    N log2(N) additions and subtractions, in the type of ``values``, which has to hold N times the largest of them.
    """
    result = values.copy()
    size = values.shape[-1]
    half = 1
    while half < size:
        pairs = result.reshape(*values.shape[:-1], size // (2 * half), 2, half)
        first, second = pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]
        pairs[..., 0, :], pairs[..., 1, :] = first, second
        half *= 2
    return result


def hadamard_signs(matrix: IntArray) -> tuple[IntArray, int] | None:
    """The signs ``[H]`` of +-1 and the block B >= 2 that HadamardMatrix makes ``matrix`` of, or None where it is another.

    Every entry is compared.
    """
    size = len(matrix)
    if matrix.shape != (size, size) or not size or size * size > LARGEST_RESULT:
        return None
    block = int(np.count_nonzero(matrix[0]))
    if block < 2 or block & (block - 1) or size % block:
        return None
    # The first column of a Sylvester matrix is all ones.
    units = np.arange(size)
    signs = np.where(matrix[units, units - units % block] < 0, -1, 1).astype(np.int8)
    (made,) = hadamard_matrix(Node("signs"), pack_signs(signs), size=size, block=block)
    return (signs, block) if (made == matrix).all() else None


def pack_signs(signs: IntArray) -> IntArray:
    """Values +1 and -1 ``[H]`` as the bytes of HadamardMatrix."""
    packed: IntArray = np.packbits(signs < 0, bitorder="little")
    return packed
