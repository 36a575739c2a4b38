"""Cast between integers, and the float borders."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.runtime.errors import ContractError, UnsupportedModelError

NUMBER = {"int8": 3, "uint8": 2, "int16": 5, "uint16": 4, "int32": 6, "uint32": 12, "int64": 7, "uint64": 13, "bool": 9}


@pytest.mark.parametrize("source", [name for name in NUMBER if name != "bool"])
@pytest.mark.parametrize("target", NUMBER)
def test_cast_keeps_the_low_bits(compare, pairs, source, target):
    text = f"g ({source}[N] a) => ({target}[N] y) {{ y = Cast <to = {NUMBER[target]}> (a) }}"
    compare(text, {"a": pairs(source)[0]})


def test_cast_of_bool(compare):
    compare("g (bool[N] a) => (uint8[N] y) { y = Cast <to = 2> (a) }", {"a": np.array([True, False])})


@pytest.mark.parametrize("source", ["uint8", "int32", "uint64"])
def test_cast_to_float_takes_the_nearest(compare, pairs, source):
    compare(f"g ({source}[N] a) => (float[N] y) {{ y = Cast <to = 1> (a) }}", {"a": pairs(source)[0]})


def test_cast_of_and_to_other_floats_is_refused(body):
    with pytest.raises(ContractError, match="operand of type float32"):
        body("g (float[N] a) => (int32[N] y) { y = Cast <to = 6> (a) }").run({"a": np.zeros(1, np.float32)})
    with pytest.raises(UnsupportedModelError, match="DOUBLE"):
        body("g (int32[N] a) => (double[N] y) { y = Cast <to = 11> (a) }")


@pytest.mark.parametrize(("dtype", "zero_point"), [("uint8", 37), ("int8", -3), ("int16", 0), ("uint16", 1000)])
def test_quantize_linear(compare, dtype, zero_point):
    """Ties to even, saturated, in float32; a scale of 0.5 makes ties."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 100, 2000), np.arange(-600, 600) / 4, [1e30, -1e30, np.inf, -np.inf, 0.0, -0.0]])
    for scale in (0.5, 0.1, 3e-5):
        text = (
            f"g (float[N] x, float s) => ({dtype}[N] y) <{dtype} z = {{{zero_point}}}> "
            "{ y = QuantizeLinear(x, s, z) }"
        )
        feeds = {"x": x.astype(np.float32), "s": np.array(scale, np.float32)}
        # 16 bits came with opset 21; onnx.reference warns of infinities.
        compare(text, feeds, onnxruntime="16" not in dtype, reference=False)


@pytest.mark.parametrize(("dtype", "zero_point"), [("uint8", 37), ("int8", -3), ("int32", 0)])
def test_dequantize_linear(compare, pairs, dtype, zero_point):
    text = (
        f"g ({dtype}[N] x, float s) => (float[N] y) <{dtype} z = {{{zero_point}}}> {{ y = DequantizeLinear(x, s, z) }}"
    )
    compare(text, {"x": pairs(dtype)[0], "s": np.array(0.1, np.float32)}, reference=False)


def test_quantize_per_channel(compare):
    x = np.random.default_rng(0).normal(0, 50, (5, 3, 2)).astype(np.float32)
    text = (
        "g (float[N,3,2] x) => (uint8[N,3,2] y) <float[3] s = {0.5, 0.25, 3.0}, uint8[3] z = {0, 128, 7}> "
        "{ y = QuantizeLinear <axis = 1> (x, s, z) }"
    )
    compare(text, {"x": x})


def test_quantizing_nan_is_an_error(body):
    model = body("g (float[N] x, float s) => (uint8[N] y) { y = QuantizeLinear(x, s) }")
    with pytest.raises(ContractError, match="NaN"):
        model.run({"x": np.array([np.nan], np.float32), "s": np.array(1, np.float32)})
