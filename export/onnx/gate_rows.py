"""Body of GateRows: Reshape, Transpose and Gather, folded at load."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("GateRows")
def gate_rows(site: Site) -> onnx.FunctionProto:
    """Part and gate change places, then the gates are gathered; one body serves all parts and orders."""
    del site
    lines = [
        "order = Constant<value_ints: ints = @order>()",
        "parts_0 = Constant<value_int: int = @parts>()",
        *fragments.vector("flat", [-1]),
        "parts = Reshape(parts_0, flat)",
        "gates = Shape(order)",
        "blocks_shape = Concat<axis = 0>(parts, gates, flat)",
        "blocks = Reshape(weight, blocks_shape)",
        "by_gate = Transpose<perm = [1, 0, 2]>(blocks)",
        "ordered = Gather<axis = 0>(by_gate, order)",
        "rows_shape = Shape(weight)",
        "rows = Reshape(ordered, rows_shape)",
    ]
    return function("GateRows", "any", lines)
