"""Body of UnpackWeights: BitShift and BitwiseAnd, folded at load."""

from __future__ import annotations

import math

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("UnpackWeights")
def unpack_weights(site: Site) -> onnx.FunctionProto:
    """The fields of every byte, the surplus of the last one cut off, minus 2^(bits-1)."""
    bits = int(site.attributes["bits"])
    per_byte = 8 // bits
    shifts = ", ".join(str(bits * n) for n in range(per_byte))
    surplus: list[str] = []
    if math.prod(site.attributes["shape"]) % per_byte:
        surplus = [
            "size = ReduceProd<keepdims = 1>(shape)",
            *fragments.vector("start", [0]),
            "used = Slice(all_fields, start, size)",
        ]
    lines = [
        "column = Constant<value = int64[1] {1}>()",
        "bytes = Unsqueeze(packed, column)",
        f"shifts = Constant<value = uint8[1, {per_byte}] {{{shifts}}}>()",
        'moved = BitShift<direction = "RIGHT">(bytes, shifts)',
        f"mask = Constant<value = uint8 {{{(1 << bits) - 1}}}>()",
        "fields = BitwiseAnd(moved, mask)",
        *fragments.vector("flat", [-1]),
        "all_fields = Reshape(fields, flat)",
        "shape = Constant<value_ints: ints = @shape>()",
        *surplus,
        f"signed = Cast<to = {fragments.INT8}>({'used' if surplus else 'all_fields'})",
        f"offset = Constant<value = int8 {{{1 << (bits - 1)}}}>()",
        "centred = Sub(signed, offset)",
        "weight = Reshape(centred, shape)",
    ]
    return function("UnpackWeights", f"b{bits}{'_surplus' if surplus else ''}", lines)
