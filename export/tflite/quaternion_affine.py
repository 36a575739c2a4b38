"""QuaternionAffine for LiteRT."""

from __future__ import annotations

import math
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
    axis, count = len(x.shape) - 1 - attributes["trailing"], len(matrix)
    shape = site.tensor("x").shape
    # Four axes whatever x has: tflite-runtime broadcasts no more.
    leading = None if None in x.shape[:axis] else math.prod(shape[:axis])
    whole = code.reshape(x, (leading, 4, count, math.prod(shape[axis + 1 :])))
    largest = site.largest("x", attributes["x_zero_point"])
    # Entry [c, q]: how much part d of quaternion q adds to component c.
    parts = code.split(whole, [1] * 4, 1)
    terms = [(part, matrix[:, :, d].T[:, :, None], largest) for d, part in enumerate(parts)]
    bounds = (attributes["y_zero_point"], attributes["low"], attributes["high"])
    site.set("y", scaled_sum(code, terms, addend.reshape(4, count, 1), attributes["shift"], *bounds))
