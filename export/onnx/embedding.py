"""Body of Embedding: the whole table as activations, folded at load, and one Gather."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function
from qdeploy.runtime.errors import ContractError


@body("Embedding")
def embedding(site: Site) -> onnx.FunctionProto:
    """A table on the result's own grid is moved by the zero point, any other one requantized row by row."""
    multiplier = site.constants["multiplier"]
    weight = site.constants["weight"]
    low, high = (int(site.attributes[name]) for name in ("low", "high"))
    zero_point = int(site.attributes["y_zero_point"])
    if weight.size == 0:
        raise ContractError(f"node {site.node.name}: weight has shape {list(weight.shape)}, expected [V, D]")
    as_it_is = multiplier.tolist() == [1] and int(site.attributes["shift"]) == 0
    if as_it_is and low <= int(weight.min()) + zero_point and int(weight.max()) + zero_point <= high:
        lines = [
            *fragments.attribute("y_zero_point", fragments.INT32),
            f"wide = Cast<to = {fragments.INT32}>(weight)",
            "moved = Add(wide, y_zero_point)",
            "table = Cast<to: int = @dtype>(moved)",
            "y = Gather<axis = 0>(table, indices)",
        ]
        return function("Embedding", "grid", lines)
    constants, names = fragments.requantization_constants(
        "q", multiplier="factors", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    steps, result = fragments.requantization("r", "weight", names)
    attributes = ("shift", "y_zero_point", "low", "high")
    lines = [
        *(line for name in attributes for line in fragments.attribute(name, fragments.INT64)),
        *fragments.vector("column", [1]),
        "factors = Unsqueeze(multiplier, column)",
        *constants,
        *steps,
        f"table = Cast<to: int = @dtype>({result})",
        "y = Gather<axis = 0>(table, indices)",
    ]
    return function("Embedding", "rows", lines)
