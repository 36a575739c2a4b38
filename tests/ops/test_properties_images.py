"""What stands between convolutions, over random shapes, windows, zero points, extremes and ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node
from .test_properties import filled, many, property_of, whole

KINDS = ("uint8", "int16")


@property_of("Clip")
@many
@given(st.data(), st.sampled_from(KINDS))
def test_clip(data: st.DataObject, kind: str) -> None:
    limits = np.iinfo(kind)
    low = data.draw(whole(limits.min, limits.max))
    high = data.draw(whole(low, limits.max))
    x = data.draw(filled(kind, data.draw(array_shapes(min_dims=1, max_dims=4, max_side=4)), low, high))
    model = one_node("Clip", {"x": x}, {}, ["x"], {"y": kind}, low=low, high=high)
    expected = [min(max(value, low), high) for value in x.ravel().tolist()]
    assert agreed(model, {"x": x})["y"].ravel().tolist() == expected


@pytest.mark.parametrize(("low", "high"), [(3, 2), (-1, 4), (0, 256)])
def test_bounds_that_are_no_interval_of_the_type_are_refused(low: int, high: int) -> None:
    x = np.zeros((2, 2), np.uint8)
    model = one_node("Clip", {"x": x}, {}, ["x"], {"y": "uint8"}, low=low, high=high)
    with pytest.raises(ContractError, match=f"bounds {low} to {high}"):
        ReferenceModel(model).run({"x": x})
