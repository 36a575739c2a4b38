"""RNN for LiteRT's own kernels, on request only: exact scales of the loop, why others stay portable, every runtime agrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.export.onnx import attach_bodies, check_integer_only
from qdeploy.quantize import IntegerModel, load_recipe
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.numeric import FLOAT32_EXACT, quantize_input
from qdeploy.runtime.reference import ReferenceModel

from .networks import float_model, quantized

BUILTIN = load_recipe("default").changed(tflite_kernels="builtin", state_bits=8)
UNITS, INPUTS = 24, 2


def text(operator: str = "RNN", activation: str = "relu") -> str:
    """One recurrent layer, of whose states the last goes through a linear layer."""
    layer = (
        f'qdeploy.float.RNN <activation = "{activation}"> (x, u, w, b)'
        if operator == "RNN"
        else (f"qdeploy.float.GRU <hidden_size = {UNITS}> (x, u, w, b, r)")
    )
    return f"""g (float[time, batch, {INPUTS}] x) => (float[time, batch, {UNITS}] y, float[batch, {UNITS}] last) {{
      y, last = {layer}
    }}"""


def orthogonal(generator: np.random.Generator, size: int) -> np.ndarray:
    """A random orthogonal matrix."""
    return np.linalg.qr(generator.normal(size=(size, size)))[0]


def network(activation: str = "relu", *, scale: float = 0.9, operator: str = "RNN", seed: int = 0) -> tuple[Any, Any]:
    """The float network and its calibration samples."""
    generator = np.random.default_rng(seed)
    gates = 3 if operator == "GRU" else 1
    weights = {
        "u": generator.normal(size=(gates * UNITS, INPUTS)).astype(np.float32) / 2,
        "w": np.tile(orthogonal(generator, UNITS) * scale, (gates, 1)).astype(np.float32),
        "b": generator.normal(size=gates * UNITS).astype(np.float32) / 10,
    }
    if operator == "GRU":
        weights["r"] = np.zeros(UNITS, np.float32)
    x = generator.uniform(-1, 1, (20, 16, INPUTS)).astype(np.float32)
    return float_model(text(operator, activation), weights), x


def record_of(integers: IntegerModel) -> dict[str, Any]:
    (layer,) = integers.graph.layers
    return layer


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_a_loop_of_bytes_takes_the_rounding_and_loses_no_gain(activation: str, granularity: str) -> None:
    model, x = network(activation)
    integers = quantized(model, x, BUILTIN.changed(recurrent_granularity=granularity), batch_axis=1)
    record = record_of(integers)
    assert record["rounding"] == "half_even"
    assert record["gain_error"] == 0
    complete = compared(integers, x)
    (node,) = [node for node in complete.graph.node if node.op_type.startswith("RNN")]
    assert node.op_type.endswith("_half_even")


def compared(integers: IntegerModel, x: Any) -> Any:
    """The model with its bodies, whose bits in onnxruntime are the reference's."""
    complete = attach_bodies(integers.model)
    check_integer_only(complete)
    (node,) = [node for node in complete.graph.node if node.op_type.startswith("RNN")]
    kind, state = integers.graph.types["x"], np.full((16, UNITS), _zero_point(node), np.uint8)
    inputs = [value.name for value in complete.graph.input]
    feeds = {inputs[0]: quantize_input(x, kind.scale, kind.zero_point, np.dtype(np.uint8)), inputs[1]: state}
    wanted = ReferenceModel(complete).run(feeds).outputs
    for optimize in (False, True):
        found = open_engine("onnxruntime", complete, optimize=optimize).run(feeds)
        assert all((found[name] == values).all() for name, values in wanted.items())
    return complete


def _zero_point(node: Any) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == "h_zero_point")


def test_portable_is_what_a_recipe_says_of_nothing() -> None:
    model, x = network()
    record = record_of(quantized(model, x, BUILTIN.changed(tflite_kernels="portable"), batch_axis=1))
    assert "rounding" not in record
    assert "portable_because" not in record


@pytest.mark.parametrize(
    ("activation", "changed", "operator", "reason"),
    [
        ("relu", {"state_bits": 12}, "RNN", r"its states have 12 bits, and LiteRT's kernels take 8 \(--state-bits 8\)"),
        ("tanh", {}, "RNN", "its activation is tanh, and LiteRT's kernels have bounds alone"),
        ("relu", {}, "GRU", "LiteRT has no kernel for GRU"),
    ],
)
def test_what_stays_portable_says_why(activation: str, changed: dict[str, Any], operator: str, reason: str) -> None:
    model, x = network(activation, operator=operator)
    with pytest.raises(UnsupportedModelError, match=reason):
        quantized(model, x, BUILTIN.changed(**changed), batch_axis=1)


def test_a_trained_grid_keeps_its_scale_and_rounds_in_single_precision() -> None:
    generator = np.random.default_rng(1)
    model, x = network()
    grid = {tensor.name: tensor for tensor in model.graph.initializer}
    step = np.float32(0.1234567)
    values = (generator.integers(-7, 8, (UNITS, UNITS)) * step / 8).astype(np.float32)
    grid["w"].CopyFrom(onnx.numpy_helper.from_array(values, "w"))
    integers = quantized(model, x, BUILTIN.changed(weight_bits=4), batch_axis=1)
    record = record_of(integers)
    assert record["rounding"] == "single_precision"
    assert record["gain_error"] < 1e-5
    compared(integers, x)


def test_products_that_do_not_saturate_are_exact_in_single_precision() -> None:
    for seed in range(8):
        model, x = network(scale=float(0.2 + 0.1 * seed), seed=seed)
        integers = quantized(model, x, BUILTIN, batch_axis=1)
        (multiplier,) = [
            onnx.numpy_helper.to_array(tensor)
            for tensor in integers.model.graph.initializer
            if tensor.name.endswith(".multiplier")
        ]
        (node,) = [node for node in integers.model.graph.node if node.op_type == "RNN"]
        shift = next(int(attribute.i) for attribute in node.attribute if attribute.name == "shift")
        largest = (256 << shift) // int(multiplier.min()) + 1
        assert largest * int(multiplier.max()) < FLOAT32_EXACT
