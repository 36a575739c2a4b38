"""Pad for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Pad")
def pad(site: Site) -> None:
    """Constants before and behind, axis by axis."""
    code, x = site.code, site.input("x")
    pads = site.attributes["pads"]
    axes = len(pads) // 2
    for place in range(axes):
        axis = len(x.shape) - axes + place
        parts = []
        for size in (pads[place], pads[place + axes]):
            shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
            parts.append(
                code.subgraph.constant(np.full(shape, site.attributes["zero_point"]), np.int32) if size else None
            )
        x = code.concatenate([part for part in (parts[0], x, parts[1]) if part is not None], axis)
    site.set("y", x)
