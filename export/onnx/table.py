"""Body of Table: Gather."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("Table")
def table(site: Site) -> onnx.FunctionProto:
    """Gather needs an index of 32 bits."""
    del site
    return function(
        "Table", "any", [f"index = Cast<to = {fragments.INT32}>(x)", "y = Gather<axis = 0>(entries, index)"]
    )
