"""Body of HypercomplexMatrix: one product of the table and the components, the blocks in order, one rounding; folded at load."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function

ORDERS = {"blocked": {"rows": (0, 2), "columns": (1, 3)}, "adjacent": {"rows": (2, 0), "columns": (3, 1)}}
"""Axes of [p, u, q, v, kernel] by grouping."""


@body("HypercomplexMatrix")
def hypercomplex_matrix(site: Site) -> onnx.FunctionProto:
    """The sums are int32, what a factor makes of them int64; a shift rounds them, unsigned and far above zero."""
    outputs, inputs = str(site.attributes["output_grouping"]), str(site.attributes["grouping"])
    perm = (*ORDERS[outputs]["rows"], *ORDERS[inputs]["columns"], 4)
    lines = [
        f"a32 = Cast<to = {fragments.INT32}>(algebra)",
        f"s32 = Cast<to = {fragments.INT32}>(components)",
        *fragments.vector("flat", [0, -1]),
        "a_rows = Reshape(a32, flat)",
        "a_columns = Transpose<perm = [1, 0]>(a_rows)",
        "s_rows = Reshape(s32, flat)",
        "sums = MatMul(a_columns, s_rows)",
        "pu = Shape<start = 1>(algebra)",
        "qv = Shape<start = 1, end = 3>(components)",
        *fragments.vector("rest", [-1]),
        "block_shape = Concat<axis = 0>(pu, qv, rest)",
        "blocks = Reshape(sums, block_shape)",
        f"ordered = Transpose<perm = [{', '.join(map(str, perm))}]>(blocks)",
        "size = Mul(pu, qv)",
        *fragments.vector("zero", [0]),
        *fragments.vector("one", [1]),
        "outputs = Slice(size, zero, one)",
        "row_shape = Concat<axis = 0>(outputs, rest)",
        "rows = Reshape(ordered, row_shape)",
        f"rows64 = Cast<to = {fragments.INT64}>(rows)",
        f"factors64 = Cast<to = {fragments.INT64}>(factors)",
        "factor_column = Unsqueeze(factors64, one)",
        "scaled = Mul(rows64, factor_column)",
        *fragments.attribute("shift", fragments.UINT64),
        *fragments.constant("one_bit", "uint64", 1),
        'power_u = BitShift<direction = "LEFT">(one_bit, shift)',
        'half_u = BitShift<direction = "RIGHT">(power_u, one_bit)',
        # Far above what a sum times a factor reaches, 2^46: every numerator is positive, and BitShift is its floor. Unsigned,
        # since onnxruntime's Clip of int64 compares wrongly where a number does not fit 32 bits.
        *fragments.constant("offset", "uint64", 1 << 62),
        f"offset_signed = Cast<to = {fragments.INT64}>(offset)",
        "lifted = Add(scaled, offset_signed)",
        f"lifted_u = Cast<to = {fragments.UINT64}>(lifted)",
        "numerator = Add(lifted_u, half_u)",
        'quotient = BitShift<direction = "RIGHT">(numerator, shift)',
        'middle = BitShift<direction = "RIGHT">(offset, shift)',
        *fragments.constant("reach", "uint64", 127),
        "lowest = Sub(middle, reach)",
        "highest = Add(middle, reach)",
        "clipped = Clip(quotient, lowest, highest)",
        "above = Sub(clipped, lowest)",
        f"above_signed = Cast<to = {fragments.INT64}>(above)",
        *fragments.constant("reach_signed", "int64", 127),
        "centred = Sub(above_signed, reach_signed)",
        f"bytes = Cast<to = {fragments.INT8}>(centred)",
        "kernel = Shape<start = 3>(components)",
        "weight_shape = Concat<axis = 0>(size, kernel)",
        "weight = Reshape(bytes, weight_shape)",
    ]
    return function("HypercomplexMatrix", f"{outputs}_{inputs}", lines)
