"""Requantization in pieces of 32 bits against the contract's in 64, in LiteRT itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.half_even import requantize_half_even
from qdeploy.export.tflite.requantization import requantize
from qdeploy.export.tflite.writer import ModelWriter, Value
from qdeploy.runtime.engines.litert import interpreter_module
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.numeric import odd_part
from qdeploy.runtime.numeric import requantize as contract
from qdeploy.runtime.numeric import requantize_half_even as contract_half_even

Array = NDArray[Any]

pytestmark = pytest.mark.litert


@settings(max_examples=120, deadline=None)
@given(
    st.data(),
    st.sampled_from([1, 8, 15, 16, 31]),
    st.integers(0, 46),
    st.booleans(),
    st.booleans(),
    st.sampled_from([31, 31, 24, 20, 17, 15, 9]),
)
def test_every_multiplier_and_shift(
    data: st.DataObject, bits: int, shift: int, per_channel: bool, wide: bool, width: int
) -> None:
    count = 6
    size = 2**bits - 1
    factors = st.one_of(st.sampled_from([size, -size, 1, 0]), st.integers(-size, size))
    multiplier = np.array(data.draw(st.lists(factors, min_size=count, max_size=count)), np.int32)
    if not per_channel:
        multiplier = multiplier[:1]
    low, high, zero_point = (-(2**15), 2**15 - 1, 0) if wide else (0, 255, data.draw(st.integers(0, 255)))
    bound = 2**width - 1
    ends = [0, 1, -1, bound, -bound]
    # Near the ties of the first multiplier, and anywhere.
    tie = ((2 * data.draw(st.integers(-300, 300)) + 1) << shift) // (2 * (int(multiplier[0]) or 1))
    values = st.one_of(
        st.sampled_from(ends),
        st.integers(tie - 1, tie + 1),
        st.integers(-bound, bound),
    )
    drawn = data.draw(st.lists(values, min_size=count, max_size=count))
    accumulator = np.array([[min(max(v, -bound), bound) for v in drawn]], np.int32)

    assert (
        in_litert(accumulator, multiplier, shift, zero_point, low, high, bound=bound)
        == contract(accumulator, multiplier, shift, zero_point, low, high)
    ).all()


@pytest.mark.parametrize("factor", [2**31 - 1, -(2**31 - 1), 2**30 + 12345])
@pytest.mark.parametrize("zero_point", [1, 194, 255])
def test_a_product_near_the_ends_of_32_bits_saturates(factor: int, zero_point: int) -> None:
    accumulator = np.array([[0, 1, -1, 2, -85, 2047, -2047]], np.int32)
    multiplier = np.array([factor], np.int32)
    assert (
        in_litert(accumulator, multiplier, 0, zero_point, 0, 255, bound=2**11 - 1)
        == contract(accumulator, multiplier, 0, zero_point, 0, 255)
    ).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 255), min_size=4, max_size=4),
    st.lists(st.integers(0, 22), min_size=4, max_size=4),
    st.integers(0, 46),
    st.integers(0, 255),
    st.data(),
)
def test_ties_to_even_of_products_that_single_precision_holds(
    factors: list[int], exponents: list[int], shift: int, zero_point: int, data: st.DataObject
) -> None:
    # Odd factors: an even one would lend its twos to the exponent.
    pairs = zip(factors, exponents, strict=True)
    multiplier = np.array([(factor | 1) << exponent for factor, exponent in pairs], np.int32)
    twos = np.array(exponents) - shift
    bounds = (2**24 - 1) // (odd_part(multiplier) << np.maximum(twos, 0))
    rows = []
    for number, bound in zip(multiplier.tolist(), bounds.tolist(), strict=True):
        # Products whose rest is half a step, and any others.
        tie = ((2 * data.draw(st.integers(-300, 300)) + 1) << shift) // (2 * number)
        drawn = [0, 1, -1, bound, -bound, tie, tie + 1, *data.draw(st.lists(st.integers(-bound, bound), max_size=5))]
        rows.append(np.clip(np.resize(drawn, 12), -bound, bound))
    accumulator = np.ascontiguousarray(np.array(rows, np.int32).T)
    found = computed(
        accumulator,
        lambda code, x: requantize_half_even(code, x, multiplier, shift, zero_point, 0, 255, bounds=bounds),
    )
    assert (found == contract_half_even(accumulator, multiplier, shift, zero_point, 0, 255)).all()


def test_products_beyond_single_precision_have_no_form() -> None:
    writer = ModelWriter("test")
    _, graph = writer.subgraph("main")
    x = graph.input("x", np.int32, (1, 1))
    with pytest.raises(UnsupportedModelError, match="reaches 16777216, expected less than"):
        requantize_half_even(Code(graph), x, np.array([1], np.int32), 3, 0, 0, 255, bounds=np.array([2**24]))


def test_results_of_32_bits_that_do_not_fit_the_pieces_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="15-bit"):
        in_litert(np.ones((1, 1), np.int32), np.array([2**31 - 1], np.int32), 1, 0, -(2**31), 2**31 - 1)


@pytest.mark.parametrize(
    ("factor", "bound", "count"), [(2**15 - 1, 2**20, 2), (2**31 - 12345, 2**17, 3), (-1234567890, 2**22, 4)]
)
@pytest.mark.parametrize("shift", [31, 36])
def test_a_multiplier_in_pieces_takes_few_operators(factor: int, bound: int, count: int, shift: int) -> None:
    values = np.random.default_rng(count).integers(-bound, bound + 1, (1, 100))
    values[0, :2] = -bound, bound
    writer = ModelWriter("test")
    _, graph = writer.subgraph("main")
    x = graph.input("x", np.int32, (1, 100))
    requantize(Code(graph), x, np.array([factor]), shift, 3, -(2**15), 2**15 - 1, bound=bound)
    assert [operator.kind for operator in graph.operators].count("MUL") == count
    found = in_litert(values.astype(np.int32), np.array([factor]), shift, 3, -(2**15), 2**15 - 1, bound=bound)
    assert (found == contract(values, np.array([factor]), shift, 3, -(2**15), 2**15 - 1)).all()


def in_litert(
    accumulator: Array,
    multiplier: Array,
    shift: int,
    zero_point: int,
    low: int,
    high: int,
    *,
    bound: int = 2**31 - 1,
) -> Array:
    """One requantization as a model of its own."""
    return computed(
        accumulator, lambda code, x: requantize(code, x, multiplier, shift, zero_point, low, high, bound=bound)
    )


def computed(accumulator: Array, emit: Callable[[Code, Value], Value]) -> Array:
    """What a model of these operators gives."""
    writer = ModelWriter("test")
    number, graph = writer.subgraph("main")
    x = graph.input("x", np.int32, accumulator.shape)
    y = emit(Code(graph), x)
    graph.output(y)
    writer.signature("serving_default", number, {"x": x}, {"y": y})
    interpreter = interpreter_module().Interpreter(model_content=writer.to_bytes())
    found: Array = interpreter.get_signature_runner()(x=accumulator)["y"]
    return found
