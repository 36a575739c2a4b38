"""Convolutions over random shapes, strides, pads, dilations, groups, zero points, extremes and ties."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from . import definitions
from .agreement import agreed
from .test_conv import layer
from .test_properties import LARGEST, attributes_of, defined, filled, many, property_of, requantizations, whole


@property_of("Conv")
@many
@given(st.data(), st.sampled_from(["uint8", "int16"]), st.sampled_from(["uint8", "int16", "int32"]), st.integers(1, 3))
def test_conv(data: st.DataObject, x_kind: str, y_kind: str, rank: int) -> None:
    group = data.draw(st.sampled_from([1, 1, 2, 3]))
    channels, outputs = group * data.draw(whole(1, 3)), group * data.draw(whole(1, 3))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(rank)]
    windows = {
        "strides": [data.draw(st.integers(1, 3)) for _ in range(rank)],
        "pads": [data.draw(st.integers(0, 2)) for _ in range(2 * rank)],
        "dilations": [data.draw(st.integers(1, 2)) for _ in range(rank)],
    }
    least = [
        max(1, windows["dilations"][a] * (kernel[a] - 1) + 1 - windows["pads"][a] - windows["pads"][rank + a])
        for a in range(rank)
    ]
    sizes = [data.draw(st.integers(size, size + 2)) for size in least]
    chosen = data.draw(requantizations(outputs, y_kind))
    x_zero_point = data.draw(whole(0, 255)) if x_kind == "uint8" else 0
    w = data.draw(filled("int8", (outputs, channels // group, *kernel), 0))
    x = data.draw(filled(x_kind, (data.draw(st.integers(1, 2)), channels, *sizes), x_zero_point))
    reach = int(np.abs(w.astype(int)).reshape(outputs, -1).sum(axis=1).max()) * (255 if x_kind == "uint8" else 2**15)
    room, tie = LARGEST - reach, chosen["tie"]
    b = data.draw(filled("int32", outputs, 0, tie, -tie, 3 * tie, low=-room, high=room))
    model = layer(x, w, b=b, m=chosen["m"], y=y_kind, group=group, **windows, x_zero_point=x_zero_point,
                  **attributes_of(chosen))  # fmt: skip
    accumulator = definitions.convolved(x, w, **windows, group=group, x_zero_point=x_zero_point)
    accumulator = np.moveaxis(accumulator, 1, -1) + b.astype(object)
    expected = np.moveaxis(defined(accumulator, chosen), -1, 1)
    assert (agreed(model, {"x": x})["y"] == expected).all()
