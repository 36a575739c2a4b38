"""The accumulator's bound: tight, exact where 64 bits are too few, and the same for exporter, bodies and reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qdeploy.export.onnx.attach import sites
from qdeploy.export.onnx.rnn_arrangement import accumulator_reach
from qdeploy.quantize import load_recipe
from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.runtime.accumulator import recurrent_reach
from qdeploy.runtime.numeric import requantize

from .networks import float_model, quantized
from .test_networks import RNN, pixels, rnn_weights


@pytest.mark.parametrize("requantized", [False, True])
@pytest.mark.parametrize("rectified", [False, True])
def test_the_bound_holds_and_is_reached(requantized: bool, rectified: bool) -> None:
    """All corners of state and input of a layer of two units: the largest accumulator is the bound, or one below it."""
    recurrent, given = np.array([[3, -2], [1, 4]], np.int8), np.array([[5], [-7]], np.int8)
    bias, modrelu_bias = np.array([11, -6], np.int32), np.array([2, 3], np.int32)
    multiplier, shift = (np.array([37], np.int32), 3) if requantized else (None, 2)
    bound = recurrent_reach(
        recurrent_weight=recurrent,
        input_weight=given,
        bias=bias,
        state=15,
        x=9,
        recurrent_shift=1,
        input_shift=shift,
        input_multiplier=multiplier,
        modrelu_bias=modrelu_bias if rectified else None,
    )
    largest = np.zeros(2, np.int64)
    for h0, h1, x in itertools.product((-15, 15), (-15, 15), (-9, 9)):
        driven = given.astype(np.int64) @ [x]
        driven = driven << shift if multiplier is None else requantize(driven, multiplier, shift)
        total = np.abs((recurrent.astype(np.int64) @ [h0, h1] << 1) + driven + bias)
        largest = np.maximum(largest, total + (modrelu_bias if rectified else 0))
    assert (largest <= bound).all()
    assert (largest >= bound - (1 if requantized else 0)).all()


def test_bounds_beyond_64_bits_are_exact() -> None:
    bound = recurrent_reach(
        recurrent_weight=np.full((1, 1), 127, np.int8),
        input_weight=np.full((1, 16384), -128, np.int8),
        bias=np.array([-(2**31)], np.int32),
        state=2**15,
        x=2**15,
        recurrent_shift=24,
        input_shift=30,
    )
    assert bound[0] == 127 * 2**39 + 2**21 * 2**45 + 2**31


def test_a_product_that_leaves_32_bits_before_its_requantization_counts() -> None:
    bound = recurrent_reach(
        recurrent_weight=np.zeros((1, 1), np.int8),
        input_weight=np.full((1, 1024), 127, np.int8),
        bias=np.zeros(1, np.int32),
        state=1,
        x=2**15,
        recurrent_shift=0,
        input_shift=30,
        input_multiplier=np.array([1], np.int32),
    )
    assert bound[0] == 127 * 1024 * 2**15


@pytest.mark.parametrize("activation", ["relu", "linear", "modrelu", "tanh"])
def test_exporter_and_bodies_prove_the_same(activation: str) -> None:
    modrelu = activation == "modrelu"
    model = float_model(RNN % (activation, ", r" if modrelu else ""), rnn_weights(bits=4, modrelu=modrelu))
    integers = quantized(model, pixels((20, 4, 1)), load_recipe("default"), batch_axis=1)
    layer = next(layer for layer in integers.graph.layers if layer["operator"] == "RNN")
    site = next(site for site in sites(integers.model) if site.node.op_type == "RNN")
    assert layer["accumulator_bits"] == accumulator_bits(accumulator_reach(site))
