"""FastRNN and FastGRNN of any sizes, bits, shifts and tables: every voice gives the definition's bits."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from qdeploy.export.onnx import attach_bodies
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed
from .test_fast_cells import definition, layer
from .test_properties import property_of


@property_of("FastRNN")
@property_of("FastGRNN")
@given(
    gated=st.booleans(),
    hidden=st.integers(1, 6),
    rank=st.one_of(st.none(), st.integers(1, 4)),
    weight_bits=st.integers(2, 8),
    state_bits=st.integers(2, 16),
    x_type=st.sampled_from(["uint8", "int16"]),
    index_shift=st.integers(0, 20),
    index_bits=st.integers(1, 12),
    input_multiplier=st.one_of(st.sampled_from([1, 2, 64]), st.integers(-40, 2**15)),
    input_shift=st.one_of(st.just(0), st.integers(0, 30)),
    factor_shift=st.integers(0, 14),
    kept=st.integers(0, 2**14),
    every=st.booleans(),
    random_tables=st.booleans(),
    knots=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_random_layers(**chosen: Any) -> None:
    model, constants, attributes, feeds = layer(**chosen)
    try:
        ReferenceModel(attach_bodies(model)).run(feeds)
    except ContractError as error:
        assume("more than int32 holds" not in str(error))
        raise
    found = agreed(model, feeds)
    assert (found["y_h"] == definition(constants, attributes, feeds)[-1]).all()
