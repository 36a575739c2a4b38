"""Body of SparseWeights: places by a running sum, values scattered to them, folded at load."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("SparseWeights")
def sparse_weights(site: Site) -> onnx.FunctionProto:
    """Gaps: their running sum says where ScatterElements puts the values. A bit map: its running sum says which value.

    The widths of the fields are attributes of the body, so that all layers share one: a body of its own would cost a small
    layer more than it saves.
    """
    lines = [
        *fragments.attribute("count", fragments.INT64),
        *fragments.attribute("value_bits", fragments.INT64),
        "shape = Constant<value_ints: ints = @shape>()",
        "size = ReduceProd<keepdims = 1>(shape)",
        *fragments.vector("flat", [-1]),
        *fragments.vector("begin", [0]),
        *fragments.vector("column", [1]),
        *fragments.constant("axis", "int32", 0),
        *fragments.constant("one", "int32", 1),
        "bits = Constant<value = uint8[1, 8] {0, 1, 2, 3, 4, 5, 6, 7}>()",
        *fragments.constant("bit", "uint8", 1),
        "powers = Constant<value = int32[8, 1] {1, 2, 4, 8, 16, 32, 64, 128}>()",
        "number = Reshape(count, column)",
        *_fields("value", "values"),
        "sign = Sub(value_width, column)",
        "offset = Gather<axis = 0>(powers, sign)",
        "scaled = Reshape(value_fields, flat)",
        "half = Reshape(offset, column)",
        "value = Sub(scaled, half)",
    ]
    if site.attributes["gap_bits"] == 0:
        return function("SparseWeights", "map", [*lines, *_bit_map()])
    return function("SparseWeights", "gaps", [*lines, *_gaps()])


def _fields(prefix: str, packed: str) -> list[str]:
    """``PREFIX_fields``, int32 ``[number, 1]``: fields of ``PREFIX_bits`` bits, put together of the bits of a stream."""
    p = prefix
    return [
        *_stream(p, packed),
        f"{p}_width = Reshape({p}_bits, column)",
        f"{p}_end = Mul(number, {p}_width)",
        f"{p}_used = Slice({p}_flat, begin, {p}_end)",
        f"{p}_rows = Concat<axis = 0>(flat, {p}_width)",
        f"{p}_table = Reshape({p}_used, {p}_rows)",
        f"{p}_32 = Cast<to = {fragments.INT32}>({p}_table)",
        f"{p}_powers = Slice(powers, begin, {p}_width)",
        f"{p}_fields = MatMul({p}_32, {p}_powers)",
    ]


def _stream(prefix: str, packed: str) -> list[str]:
    """``PREFIX_flat``, uint8: the bits of a stream, the lowest of a byte first."""
    p = prefix
    return [
        f"{p}_bytes = Unsqueeze({packed}, column)",
        f'{p}_moved = BitShift<direction = "RIGHT">({p}_bytes, bits)',
        f"{p}_cut = BitwiseAnd({p}_moved, bit)",
        f"{p}_flat = Reshape({p}_cut, flat)",
    ]


def _bit_map() -> list[str]:
    return [
        *_stream("place", "places"),
        "used = Slice(place_flat, begin, size)",
        f"marked = Cast<to = {fragments.INT32}>(used)",
        "seen = CumSum(marked, axis)",
        # Before the first value the index is -1, the last value: the bit 0 leaves nothing of it.
        "index = Sub(seen, one)",
        "found = Gather<axis = 0>(value, index)",
        "kept = Mul(found, marked)",
        f"entries = Cast<to = {fragments.INT8}>(kept)",
        "weight = Reshape(entries, shape)",
    ]


def _gaps() -> list[str]:
    return [
        *fragments.attribute("gap_bits", fragments.INT64),
        *_fields("gap", "places"),
        "gaps = Reshape(gap_fields, flat)",
        "steps = Add(gaps, one)",
        "ends = CumSum(steps, axis)",
        "index = Sub(ends, one)",
        f"updates = Cast<to = {fragments.INT8}>(value)",
        "zeros = ConstantOfShape<value = int8[1] {0}>(size)",
        "entries = ScatterElements<axis = 0>(zeros, index, updates)",
        "weight = Reshape(entries, shape)",
    ]
