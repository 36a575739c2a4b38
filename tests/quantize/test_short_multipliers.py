"""Multipliers of 8 bits for layers of products: weight scales are raised so that nothing is lost, and 32 bits suffice."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import Recipe, load_recipe
from qdeploy.runtime.errors import InvalidInputError

from .networks import both, float_model, quantized
from .test_networks import RNN, STEPS, mlp_weights, pixels, rnn_weights

SHORT = load_recipe("w7a8")
CONV = """
g (float[batch, 4, 8, 8] x) => (float[batch, 8, 8, 8] y)
{
  %s
  a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
  b1 = Relu (a)
  y = Conv (b1, w1)
}"""
REAL = CONV % ""
QUATERNION = CONV % 'w = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (r, i, j, k)'


def conv_weights(*, quaternion: bool) -> dict[str, Any]:
    generator = np.random.default_rng(7)
    # Channels whose largest weights differ by three orders of magnitude.
    spread = 10.0 ** generator.uniform(-3, 0, (8, 1, 1, 1))
    weights = {"b": generator.uniform(-0.01, 0.01, 8), "w1": generator.standard_normal((8, 8, 1, 1))}
    if quaternion:
        return weights | {part: spread[:2] * generator.standard_normal((2, 1, 3, 3)) for part in "rijk"}
    return weights | {"w": spread * generator.standard_normal((8, 4, 3, 3))}


def multipliers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: array for name, array in tensors.items() if "multiplier" in name}


@pytest.mark.parametrize("quaternion", [False, True])
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_convolutions_requantize_in_32_bits_without_an_error_of_the_multiplier(
    quaternion: bool, granularity: str
) -> None:
    model, x = (
        float_model(QUATERNION if quaternion else REAL, conv_weights(quaternion=quaternion)),
        pixels((32, 4, 8, 8)),
    )
    integers = quantized(model, x, SHORT.changed(weight_granularity=granularity))
    found = multipliers(integers.model)
    assert len(found) == 2
    assert all(0 < array.min() and array.max() < 2**8 for array in found.values())
    for layer in integers.graph.layers:
        assert layer["multiplier_error"] < 1e-12
        assert layer["weight_bits"] == 7
    bodies = [node.op_type for node in attach_bodies(integers.model).graph.node if node.op_type.startswith("Conv")]
    # The last layer's output has 16 bits.
    assert bodies == ["Conv_u8_rows3x3_padded_s8_narrow_uint8", "Conv_u8_rows1x1_s8_int16"]
    real, approximated, _ = both(model, integers, x)
    assert np.abs(real - approximated).max() < 0.05 * np.abs(real).max()


def test_the_largest_channel_loses_a_part_in_128_at_most() -> None:
    model, x = float_model(REAL, conv_weights(quaternion=False)), pixels((8, 4, 8, 8))
    plain, short = (
        np.array(quantized(model, x, recipe).graph.constants_info["w"]["scale"])
        for recipe in (SHORT.changed(product_multiplier_bits=15), SHORT)
    )
    assert (short >= plain * (1 - 1e-12)).all()
    assert short.max() <= plain.max() * (1 + 1 / 128)
    # The others are raised by no more than that is, in steps of the output.
    assert (short - plain).max() <= plain.max() / 64


def test_what_is_no_layer_of_products_keeps_15_bits() -> None:
    recurrent = quantized(
        float_model(RNN % ("tanh", ""), rnn_weights(bits=None)), pixels((STEPS, 8, 1)), SHORT, batch_axis=1
    )
    loop = {name: array for name, array in multipliers(recurrent.model).items() if name.startswith("rnn")}
    assert loop
    assert max(int(array.max()) for array in loop.values()) >= 2**14


def test_a_grid_and_other_bits_of_multipliers_come_first() -> None:
    weights = mlp_weights()
    step = 2.0**-5
    weights["w1"] = np.clip(np.rint(weights["w1"] / step), -8, 7) * step * 1.1
    text = "g (float[batch, 16] x) => (float[batch, 12] y)\n{\n  y = qdeploy.float.Linear (x, w1, b1)\n}"
    model = float_model(text, {name: weights[name] for name in ("w1", "b1")})
    integers = quantized(model, pixels((64, 16)), SHORT)
    assert integers.graph.layers[0]["exact_grid"]
    assert max(int(array.max()) for array in multipliers(integers.model).values()) >= 2**14
    assert not SHORT.changed(multiplier_bits=31).short_multipliers
    assert not SHORT.changed(multiplier_bits=1).short_multipliers
    assert not Recipe("r", "").short_multipliers
    with pytest.raises(InvalidInputError, match="product_multiplier_bits=9; expected one of"):
        SHORT.changed(product_multiplier_bits=9)
