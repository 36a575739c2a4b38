"""ModRelu for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("ModRelu")
def modrelu(site: Site) -> None:
    """sgn(x) max(|x| + bias, 0) within 16 bits."""
    code, x = site.code, site.input("x")
    sign = code.clip(x, -1, 1)
    size = code.maximum(code.add(code.multiply(x, sign), site.constant("bias")), 0)
    bounds = np.iinfo(np.int16)
    site.set("y", code.clip(code.multiply(sign, size), int(bounds.min), int(bounds.max)))
