"""Body of HypercomplexMatrix: one product of the table and the components, the blocks in order, one rounding; folded at load."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function

ORDERS = {"blocked": {"rows": (0, 2), "columns": (1, 3)}, "adjacent": {"rows": (2, 0), "columns": (3, 1)}}
"""Axes of [p, u, q, v, kernel] by grouping."""


@body("HypercomplexMatrix")
def hypercomplex_matrix(site: Site) -> onnx.FunctionProto:
    """The sums are int32, what a factor makes of them int64; an offset of 128 keeps the numerators that matter positive.

    Division truncates towards zero, which is not the floor of a negative numerator: both are below the lower bound.
    """
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
        f"power = Cast<to = {fragments.INT64}>(power_u)",
        f"half = Cast<to = {fragments.INT64}>(half_u)",
        *fragments.constant("middle", "int64", 128),
        "offset = Mul(power, middle)",
        "addend = Add(offset, half)",
        "numerator = Add(scaled, addend)",
        "quotient = Div(numerator, power)",
        *fragments.constant("lowest", "int64", 1),
        *fragments.constant("highest", "int64", 255),
        # Not Clip: of int64 onnxruntime's compares wrongly where a number does not fit 32 bits.
        "too_low = Less(quotient, lowest)",
        "raised = Where(too_low, lowest, quotient)",
        "too_high = Greater(raised, highest)",
        "clipped = Where(too_high, highest, raised)",
        "centred = Sub(clipped, middle)",
        f"bytes = Cast<to = {fragments.INT8}>(centred)",
        "kernel = Shape<start = 3>(components)",
        "weight_shape = Concat<axis = 0>(size, kernel)",
        "weight = Reshape(bytes, weight_shape)",
    ]
    return function("HypercomplexMatrix", f"{outputs}_{inputs}", lines)
