"""Body of QuaternionAffine: a product of stacked quaternions with their matrices, one rounding."""

from __future__ import annotations

import numpy as np
import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("QuaternionAffine")
def quaternion_affine(site: Site) -> onnx.FunctionProto:
    """Component d of all quaternions times column d of their matrices, in 32 bits; the four results stand in a new axis."""
    trailing = int(site.attributes["trailing"])
    narrow = fragments.fits_narrow(_reach(site), site.attributes)
    attributes = ("shift", "y_zero_point", "low", "high")
    lines = [
        *fragments.attribute("x_zero_point", fragments.INT32),
        *(line for name in attributes for line in fragments.attribute(name, fragments.INT64)),
        # [4 (d), 4 (c), C, 1, ...], and the constants [4, C, 1, ...].
        "columns16 = Transpose<perm = [2, 1, 0]>(matrix)",
        f"columns32 = Cast<to = {fragments.INT32}>(columns16)",
        *fragments.trailing_axes("columns", "columns32", 3, trailing),
    ]
    if narrow:
        lines += [*fragments.narrow_constants("q"), "lift = Add(addend, q_a32)"]
        steps, result = fragments.narrow_requantization("r", "total", "q")
    else:
        constants, names = fragments.requantization_constants(
            "q", multiplier="one", shift="shift", zero_point="y_zero_point", low="low", high="high"
        )
        lines += [*fragments.constant("one", "int32", 1), *constants, "lift = Identity(addend)"]
        steps, result = fragments.requantization("r", "total", names)
    lines += [
        *fragments.trailing_axes("constant", "lift", 2, trailing),
        f"wide = Cast<to = {fragments.INT32}>(x)",
        "centred = Sub(wide, x_zero_point)",
        f"x0, x1, x2, x3 = Split<axis = {-1 - trailing}, num_outputs = 4>(centred)",
        *fragments.vector("outputs_axis", [-2 - trailing]),
        "sum0 = Identity(constant)",
    ]
    for part in range(4):
        lines += [
            *fragments.constant(f"at{part}", "int64", part),
            f"m{part} = Gather<axis = 0>(columns, at{part})",
            f"x{part}_all = Unsqueeze(x{part}, outputs_axis)",
            f"p{part} = Mul(x{part}_all, m{part})",
            f"sum{part + 1} = Add(sum{part}, p{part})",
        ]
    lines += [
        # [..., 4, C, S] is [..., 4C, S].
        "shape = Shape(x)",
        "total = Reshape(sum4, shape)",
        *steps,
        f"y = Cast<to: int = @dtype>({result})",
    ]
    return function("QuaternionAffine", f"trailing{trailing}" + ("_narrow" if narrow else ""), lines)


def _reach(site: Site) -> int:
    """A bound of |M (x - z) + addend| over all inputs."""
    rows = np.abs(site.constants["matrix"].astype(np.int64)).sum(axis=2)
    largest = 255 if site.dtypes.get("x") == onnx.TensorProto.UINT8 else 2**15
    return int((rows * largest + np.abs(site.constants["addend"].astype(np.int64)).T).max(initial=0))
