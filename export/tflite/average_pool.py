"""AveragePool for LiteRT."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.requantization import requantize
from qdeploy.export.tflite.windows import Windows, channels_last, channels_second

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site
    from qdeploy.runtime.numeric import IntArray


@tflite_operator("AveragePool")
def average_pool(site: Site) -> None:
    """The sum of all taps, then a requantization which divides too."""
    attributes, code, tensor = site.attributes, site.code, site.tensor("x")
    kernel = tuple(attributes["kernel"])
    windows = Windows(
        tensor.shape[2:], kernel, tuple(attributes["strides"]), (1,) * len(kernel), tuple(attributes["pads"])
    )
    zero_point = attributes["x_zero_point"]
    centred = code.subtract(channels_last(code, site.input("x")), zero_point)
    taps = windows.taps(code, windows.padded(code, centred, 0))
    total = code.total(taps)
    multipliers = site.constant("multipliers")
    channels = tensor.shape[1]
    places, factors = (math.prod(windows.out), channels), multipliers
    if multipliers.size > 1:
        # One factor a place: places are the last axis for once.
        total, factors = code.transpose(code.reshape(total, places), [1, 0]), multipliers[_counts(site, windows) - 1]
    y = requantize(
        code,
        total,
        factors,
        attributes["shift"],
        attributes["y_zero_point"],
        attributes["low"],
        attributes["high"],
        bound=min(math.prod(kernel) * site.largest("x", zero_point), 2**31 - 1),
    )
    if multipliers.size > 1:
        y = code.transpose(y, [1, 0])
    site.set("y", channels_second(code, code.reshape(y, (*windows.out, channels))))


def _counts(site: Site, windows: Windows) -> IntArray:
    """How many places of each window count, flat."""
    counted, axes = site.attributes["counted"], len(windows.size)
    result = np.zeros(windows.out, np.int64)
    by_axis = []
    for axis in range(axes):
        starts = np.arange(windows.out[axis]) * windows.strides[axis] - windows.pads[axis]
        found = starts[:, None] + np.arange(windows.kernel[axis])
        inside = (found >= -counted[axis]) & (found < windows.size[axis] + counted[axis + axes])
        by_axis.append(inside.sum(axis=1))
    for place in itertools.product(*(range(size) for size in windows.out)):
        result[place] = math.prod(int(by_axis[axis][p]) for axis, p in enumerate(place))
    return result.reshape(-1)
