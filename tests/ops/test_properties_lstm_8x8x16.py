"""LSTM8x8x16 of any size, shifts and zero point: body and onnxruntime give the reference's integers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from .agreement import agreed
from .test_lstm_8x8x16 import feeds, layer
from .test_properties import property_of

few = settings(max_examples=3, deadline=None)
"""Every model has tables of its own to make."""


@property_of("LSTM8x8x16")
@few
@given(
    seed=st.integers(0, 2**31),
    hidden=st.integers(1, 9),
    inputs=st.integers(1, 5),
    cell_integer_bits=st.integers(0, 6),
    output_shift=st.integers(16, 30),
    shifts=st.tuples(st.integers(20, 40), st.integers(20, 40)),
    x_zero_point=st.integers(0, 255),
)
def test_lstm_8x8x16(seed: int, hidden: int, inputs: int, shifts: tuple[int, int], **attributes: int) -> None:
    model, _, _ = layer(
        seed=seed, hidden=hidden, inputs=inputs, input_shift=shifts[0], recurrent_shift=shifts[1], **attributes
    )
    agreed(model, feeds(model, steps=3, seed=seed))
