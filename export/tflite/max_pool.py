"""MaxPool for LiteRT."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.builtin import max_pooled
from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.windows import Windows, channels_last, channels_second

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("MaxPool")
def max_pool(site: Site) -> None:
    """The largest of all taps; places outside of the image are smaller than any inside.

    MAX_POOL_2D of what stands in bytes already.
    """
    if max_pooled(site):
        return
    attributes, code, tensor = site.attributes, site.code, site.tensor("x")
    windows = Windows(
        tensor.shape[2:],
        tuple(attributes["kernel"]),
        tuple(attributes["strides"]),
        tuple(attributes["dilations"]),
        tuple(attributes["pads"]),
    )
    x = windows.padded(code, channels_last(code, site.input("x")), int(np.iinfo(tensor.dtype).min))
    taps = windows.taps(code, x)
    largest = reduce(code.maximum, taps)
    site.set("y", channels_second(code, largest))
