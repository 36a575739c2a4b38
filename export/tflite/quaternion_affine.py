"""QuaternionAffine for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.requantization import scaled_sum

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("QuaternionAffine")
def quaternion_affine(site: Site) -> None:
    """Four products for each component: of the four parts of x with a column of each quaternion's matrix."""
    attributes, code = site.attributes, site.code
    x = code.subtract(site.input("x"), attributes["x_zero_point"])
    matrix, addend = site.constant("matrix").astype(np.int64), site.constant("addend")
    trailing = attributes["trailing"]
    axis, count = len(x.shape) - 1 - trailing, len(matrix)
    parted = (*x.shape[:axis], 4, count, *x.shape[axis + 1 :])
    whole = code.reshape(x, parted)
    largest = site.largest("x", attributes["x_zero_point"])
    terms = []
    for part in range(4):
        begin, size = [0] * len(parted), [-1] * len(parted)
        begin[axis], size[axis] = part, 1
        # Entry [c, q]: how much part d of quaternion q adds to component c.
        factors = matrix[:, :, part].T.reshape(4, count, *[1] * trailing)
        terms.append((code.slice(whole, begin, size), factors, largest))
    bounds = (attributes["y_zero_point"], attributes["low"], attributes["high"])
    y = scaled_sum(code, terms, addend.reshape(4, count, *[1] * trailing), attributes["shift"], *bounds)
    site.set("y", code.reshape(y, x.shape))
