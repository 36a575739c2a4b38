"""Body of InterpolatedTable: all lines at once, folded at load."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("InterpolatedTable")
def interpolated_table(site: Site) -> onnx.FunctionProto:
    """A row for each line: where it begins, and its rise times 0 to d - 1 over d."""
    del site
    lines = [
        f"wide = Cast<to = {fragments.INT64}>(knots)",
        *fragments.vector("first", [0]),
        *fragments.vector("second", [1]),
        *fragments.vector("last", [-1]),
        *fragments.vector("beyond", [2**31 - 1]),
        "line_from = Slice(wide, first, last)",
        "line_to = Slice(wide, second, beyond)",
        "rise = Sub(line_to, line_from)",
        "count_shape = Shape(rise)",
        "count = Squeeze(count_shape)",
        *fragments.attribute("bits", fragments.UINT64),
        *fragments.constant("one_u64", "uint64", 1),
        'size_u64 = BitShift<direction = "LEFT">(one_u64, bits)',
        f"size = Cast<to = {fragments.INT64}>(size_u64)",
        "apart = Div(size, count)",
        *fragments.constant("zero", "int64", 0),
        *fragments.constant("one", "int64", 1),
        *fragments.constant("two", "int64", 2),
        "between = Range(zero, apart, one)",
        "rises = Unsqueeze(rise, second)",
        "parts = Mul(rises, between)",
        # Div truncates: a lead above every rise makes it a floor.
        *fragments.constant("lead", "int64", 2**18),
        "lifted = Mul(lead, apart)",
        "half = Div(apart, two)",
        "addend = Add(lifted, half)",
        "sums = Add(parts, addend)",
        "quotients = Div(sums, apart)",
        "moved = Sub(quotients, lead)",
        "bases = Unsqueeze(line_from, second)",
        "rows = Add(bases, moved)",
        "flat = Reshape(rows, last)",
        f"table = Cast<to = {fragments.INT16}>(flat)",
    ]
    return function("InterpolatedTable", "any", lines)
