"""Body of HadamardMatrix: the matrix from the bits of its indices, folded at load."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function

UINT32 = 12


@body("HadamardMatrix")
def hadamard_matrix(site: Site) -> onnx.FunctionProto:
    """Entry [i, j] of a block is minus one to the number of ones in i and j; the parity comes by shifts and XOR."""
    del site
    lines = [
        *fragments.attribute("size", fragments.INT64),
        *fragments.attribute("block", fragments.INT64),
        *fragments.constant("zero", "int64", 0),
        *fragments.constant("one", "int64", 1),
        *fragments.vector("column", [1]),
        *fragments.vector("row", [0]),
        "unit = Range(zero, size, one)",
        "within = Mod(unit, block)",
        f"index = Cast<to = {UINT32}>(within)",
        "index_column = Unsqueeze(index, column)",
        "index_row = Unsqueeze(index, row)",
        "ones_0 = BitwiseAnd(index_column, index_row)",
    ]
    # Indices are below 2^13: the result has at most 2^26 elements.
    shifts = (8, 4, 2, 1)
    for place, shift in enumerate(shifts):
        lines += [
            f"by_{shift} = Constant<value = uint32 {{{shift}}}>()",
            f'moved_{shift} = BitShift<direction = "RIGHT">(ones_{place}, by_{shift})',
            f"ones_{place + 1} = BitwiseXor(ones_{place}, moved_{shift})",
        ]
    lines += [
        "parity = BitwiseAnd(ones_4, by_1)",
        f"parity32 = Cast<to = {fragments.INT32}>(parity)",
        *fragments.constant("one32", "int32", 1),
        *fragments.constant("two32", "int32", 2),
        "twice = Mul(parity32, two32)",
        "entries = Sub(one32, twice)",
        "number = Div(unit, block)",
        "number_column = Unsqueeze(number, column)",
        "number_row = Unsqueeze(number, row)",
        "distance = Sub(number_column, number_row)",
        "apart = Abs(distance)",
        "outside = Sign(apart)",
        "same = Sub(one, outside)",
        f"same32 = Cast<to = {fragments.INT32}>(same)",
        "blocks = Mul(entries, same32)",
        "bytes = Unsqueeze(signs, column)",
        "places = Constant<value = uint8[1, 8] {0, 1, 2, 3, 4, 5, 6, 7}>()",
        'fields = BitShift<direction = "RIGHT">(bytes, places)',
        "mask = Constant<value = uint8 {1}>()",
        "bits = BitwiseAnd(fields, mask)",
        *fragments.vector("flat", [-1]),
        "all_bits = Reshape(bits, flat)",
        "used = Unsqueeze(size, row)",
        "own_bits = Slice(all_bits, row, used)",
        f"bits32 = Cast<to = {fragments.INT32}>(own_bits)",
        "twice_bits = Mul(bits32, two32)",
        "signs32 = Sub(one32, twice_bits)",
        "sign_column = Unsqueeze(signs32, column)",
        "signed = Mul(blocks, sign_column)",
        f"weight = Cast<to = {fragments.INT8}>(signed)",
    ]
    return function("HadamardMatrix", "parity", lines)
