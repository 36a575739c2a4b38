"""Body of Table: Gather."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of


@body("Table")
def table(site: Site) -> onnx.FunctionProto:
    """Gather needs an index of 32 bits; entry 0 of a signed index lies in the middle."""
    if kind_of(site, "x") == "u8":
        lines = [f"index = Cast<to = {fragments.INT32}>(x)", "y = Gather<axis = 0>(entries, index)"]
        return function("Table", "any", lines)
    lines = [
        "shape = Shape(entries)",
        "size = Squeeze(shape)",
        *fragments.constant("two", "int64", 2),
        "half64 = Div(size, two)",
        f"half = Cast<to = {fragments.INT32}>(half64)",
        f"signed = Cast<to = {fragments.INT32}>(x)",
        "index = Add(signed, half)",
        "y = Gather<axis = 0>(entries, index)",
    ]
    return function("Table", "s16", lines)
