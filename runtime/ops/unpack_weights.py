"""UnpackWeights: weights of 1, 2 or 4 bits from bytes."""

from __future__ import annotations

import math

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("UnpackWeights", outputs=("weight",))
def unpack_weights(node: Node, packed: IntArray, *, bits: int, shape: list[int]) -> tuple[IntArray, ...]:
    """weight[i] = field_i - 2^(bits-1), field_i at bit ``bits * (i mod 8/bits)`` of byte ``i // (8/bits)``.

    Args:
        packed: uint8 ``[ceil(prod(shape) * bits / 8)]``; the unused fields of the last byte are 0.
        bits: 1, 2 or 4: fields do not cross bytes, so that BitShift and BitwiseAnd unpack them.
        shape: the weight's shape.

    Returns:
        int8 of ``shape``, in [-2^(bits-1), 2^(bits-1) - 1]. It depends on constants only, so runtimes fold it at load.
    """
    node.require_dtype("packed", packed, np.uint8)
    node.require(bits in (1, 2, 4), f"bits is {bits}; expected 1, 2 or 4.")
    size = math.prod(shape)
    per_byte = 8 // bits
    node.require_shape("packed", packed, -(-size // per_byte))
    if "weight" not in node.cache:
        shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
        fields = (packed[:, None] >> shifts) & np.uint8((1 << bits) - 1)
        signed = fields.reshape(-1)[:size].astype(np.int8) - np.int8(1 << (bits - 1))
        node.cache["weight"] = signed.reshape(shape)
    return (node.cache["weight"],)


def pack_weights(weight: IntArray, bits: int) -> IntArray:
    """The inverse of UnpackWeights: int8 weights in [-2^(bits-1), 2^(bits-1) - 1] to bytes."""
    per_byte = 8 // bits
    fields = (weight.reshape(-1).astype(np.int16) + (1 << (bits - 1))).astype(np.uint8)
    padded = np.zeros(-(-fields.size // per_byte) * per_byte, np.uint8)
    padded[: fields.size] = fields
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    packed: IntArray = np.bitwise_or.reduce(padded.reshape(-1, per_byte) << shifts, axis=1).astype(np.uint8)
    return packed
