"""Body of Pad: the standard operator, which onnxruntime has on 8 and on 32 bits."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of


@body("Pad")
def pad(site: Site) -> onnx.FunctionProto:
    """The pads of samples and channels are zeros in front of both halves."""
    kind = kind_of(site, "x")
    rank = len(site.attributes["pads"]) // 2
    lines = [
        "image = Constant<value_ints: ints = @pads>()",
        *fragments.vector("none", [0, 0]),
        *fragments.vector("start", [0]),
        *fragments.vector("middle", [rank]),
        *fragments.vector("end", [2 * rank]),
        "begins = Slice(image, start, middle)",
        "ends = Slice(image, middle, end)",
        "around = Concat<axis = 0>(none, begins, none, ends)",
    ]
    if kind == "u8":
        lines += [*fragments.attribute("zero_point", fragments.UINT8), "y = Pad(x, around, zero_point)"]
    else:
        lines += [
            *fragments.attribute("zero_point", fragments.INT32),
            f"wide = Cast<to = {fragments.INT32}>(x)",
            "padded = Pad(wide, around, zero_point)",
            f"y = Cast<to = {fragments.INT16}>(padded)",
        ]
    return function("Pad", f"{kind}_{rank}d", lines)
