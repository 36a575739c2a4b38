"""Element-wise operators: wrap-around, truncation, shifts, clips, comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qdeploy.runtime.errors import ContractError, UnsupportedModelError

SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
ALL = SIGNED + UNSIGNED


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_wraps_as_onnxruntime(compare, pairs, operator, dtype):
    a, b = pairs(dtype)
    compare(f"g ({dtype}[N] a, {dtype}[N] b) => ({dtype}[N] y) {{ y = {operator}(a, b) }}", {"a": a, "b": b})


@pytest.mark.parametrize("dtype", ALL)
def test_div_truncates_toward_zero(compare, pairs, dtype):
    a, b = pairs(dtype)
    defined = (b != 0) & ~((a == np.iinfo(dtype).min) & (b == -1 if dtype in SIGNED else False))
    feeds = {"a": a[defined], "b": b[defined]}
    # onnx.reference divides through float64, which has no room for 64 bits.
    compare(f"g ({dtype}[N] a, {dtype}[N] b) => ({dtype}[N] y) {{ y = Div(a, b) }}", feeds, reference="64" not in dtype)


def test_div_of_negative_numbers(compare):
    text = "g (int32[N] a) => (int32[N] y) <int32[1] d = {4}> { y = Div(a, d) }"
    (y,) = compare(text, {"a": np.array([-9, -8, -7, -1, 0, 1, 7, 8, 9], np.int32)})
    assert y.tolist() == [-2, -2, -1, 0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize("dtype", SIGNED)
@pytest.mark.parametrize("shift", [0, 1, 5, 6])
def test_div_by_a_constant_power_of_two(compare, pairs, dtype, shift):
    a, _ = pairs(dtype)
    text = f"g ({dtype}[N] a) => ({dtype}[N] y) <{dtype}[1] d = {{{1 << shift}}}> {{ y = Div(a, d) }}"
    compare(text, {"a": a}, reference="64" not in dtype)


def test_div_by_constant_rows(compare, pairs):
    """The two bytes of a wide state: divisors [[64], [1]]."""
    a, _ = pairs("int32")
    text = "g (int32[1,N] a) => (int32[2,N] y) <int32[2,1] d = {64, 1}> { y = Div(a, d) }"
    compare(text, {"a": a[None]})


@pytest.mark.parametrize(("a", "b", "found"), [(5, 0, "division by 0"), (-(2**31), -1, "does not fit int32")])
def test_div_without_a_result_is_an_error(body, a, b, found):
    model = body("g (int32[N] a, int32[N] b) => (int32[N] y) { [name] y = Div(a, b) }".replace("[name] ", ""))
    with pytest.raises(ContractError, match=found):
        model.run({"a": np.array([a], np.int32), "b": np.array([b], np.int32)})


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("fmod", [0, 1])
def test_mod(compare, pairs, dtype, fmod):
    a, b = pairs(dtype)
    defined = b != 0
    if dtype in SIGNED:
        defined &= b != -1
    feeds = {"a": a[defined], "b": b[defined]}
    # fmod=1 goes through double in onnxruntime: wrong for large 64-bit integers.
    text = f"g ({dtype}[N] a, {dtype}[N] b) => ({dtype}[N] y) {{ y = Mod <fmod = {fmod}> (a, b) }}"
    compare(text, feeds, onnxruntime=not (fmod and "64" in dtype))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("operator", ["Abs", "Sign", "BitwiseNot"])
def test_unary(compare, pairs, operator, dtype):
    compare(f"g ({dtype}[N] a) => ({dtype}[N] y) {{ y = {operator}(a) }}", {"a": pairs(dtype)[0]})


@pytest.mark.parametrize("dtype", SIGNED)
@pytest.mark.parametrize("operator", ["Neg", "Relu"])
def test_unary_of_signed(compare, pairs, operator, dtype):
    text = f"g ({dtype}[N] a) => ({dtype}[N] y) {{ y = {operator}(a) }}"
    compare(text, {"a": pairs(dtype)[0]}, onnxruntime=(operator, dtype) != ("Relu", "int16"))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("operator", ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
def test_comparisons(compare, pairs, operator, dtype):
    a, b = pairs(dtype)
    compare(f"g ({dtype}[N] a, {dtype}[N] b) => (bool[N] y) {{ y = {operator}(a, b) }}", {"a": a, "b": b})


@pytest.mark.parametrize("operator", ["And", "Or", "Xor"])
def test_logic(compare, operator):
    text = f"g (bool[N] a, bool[N] b) => (bool[N] y, bool[N] z) {{ y = {operator}(a, b) z = Not(a) }}"
    compare(text, {"a": np.array([0, 0, 1, 1], bool), "b": np.array([0, 1, 0, 1], bool)})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("operator", ["Min", "Max"])
def test_min_max_of_three(compare, pairs, operator, dtype):
    a, b = pairs(dtype)
    text = f"g ({dtype}[N] a, {dtype}[N] b, {dtype}[N] c) => ({dtype}[N] y) {{ y = {operator}(a, b, c) }}"
    compare(text, {"a": a, "b": b, "c": a[::-1].copy()})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_clip(compare, pairs, dtype):
    a, _ = pairs(dtype)
    text = f"g ({dtype}[N] a, {dtype} lo, {dtype} hi) => ({dtype}[N] y) {{ y = Clip(a, lo, hi) }}"
    compare(text, {"a": a, "lo": np.array(3, dtype), "hi": np.array(100, dtype)})


@pytest.mark.parametrize("inputs", ["a, lo", 'a, "", hi', "a"])
def test_clip_with_absent_bounds(compare, pairs, inputs):
    """An absent optional input is an empty name."""
    a, _ = pairs("int32")
    text = ("g (int32[N] a) => (int32[N] y) <int32 lo = {-5}, int32 hi = {9}> { y = Clip(a, lo, hi) }").replace(
        "Clip(a, lo, hi)", f"Clip({inputs})"
    )
    compare(text.replace('""', ""), {"a": a})


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64"])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_bit_shift(compare, pairs, dtype, direction):
    a, b = pairs(dtype)
    b %= np.dtype(dtype).type(8 * np.dtype(dtype).itemsize)
    text = f'g ({dtype}[N] a, {dtype}[N] b) => ({dtype}[N] y) {{ y = BitShift <direction = "{direction}"> (a, b) }}'
    compare(text, {"a": a, "b": b})


def test_bit_shift_of_16_bits(compare, pairs):
    """onnxruntime has none; ONNX does."""
    a, b = pairs("uint16")
    text = 'g (uint16[N] a, uint16[N] b) => (uint16[N] y) { y = BitShift <direction = "LEFT"> (a, b) }'
    compare(text, {"a": a, "b": b % np.uint16(16)}, onnxruntime=False)


def test_bit_shift_by_the_width_is_an_error(body):
    model = body('g (uint8[N] a, uint8[N] b) => (uint8[N] y) { y = BitShift <direction = "LEFT"> (a, b) }')
    with pytest.raises(ContractError, match="shift by 8, expected less than the width 8"):
        model.run({"a": np.array([1], np.uint8), "b": np.array([8], np.uint8)})
    with pytest.raises(UnsupportedModelError, match="shift by 8"):
        body('g (uint8[N] a) => (uint8[N] y) <uint8 s = {8}> { y = BitShift <direction = "RIGHT"> (a, s) }')


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_where(compare, pairs, dtype):
    a, b = pairs(dtype)
    text = f"g (bool[N] c, {dtype}[N] a, {dtype}[N] b) => ({dtype}[N] y) {{ y = Where(c, a, b) }}"
    compare(text, {"c": a > b, "a": a, "b": b})


@given(
    shapes=arrays.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_broadcasting(compare, shapes, seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-(2**31), 2**31, shape, np.int32) for shape in shapes.input_shapes)
    dims = [
        "[" + ",".join("?" for _ in shape) + "]" if shape else "" for shape in (a.shape, b.shape, shapes.result_shape)
    ]
    text = f"g (int32{dims[0]} a, int32{dims[1]} b) => (int32{dims[2]} y) {{ y = Mul(a, b) }}"
    compare(text, {"a": np.asarray(a), "b": np.asarray(b)})


@pytest.mark.parametrize("operator", ["Add", "Div", "Min", "Equal", "MatMul", "Mod"])
def test_two_types_are_an_error(body, operator):
    model = body(f"g (int32[2,2] a, int64[2,2] b) => (y) {{ y = {operator}(a, b) }}")
    with pytest.raises(ContractError, match=f"{operator}_0: found operands of type int32 and int64, expected one type"):
        model.run({"a": np.ones((2, 2), np.int32), "b": np.ones((2, 2), np.int64)})


def test_floats_have_no_place_in_a_body(body):
    model = body("g (float[N] a) => (float[N] y) { y = Add(a, a) }")
    with pytest.raises(ContractError, match="type float32, expected signed integers or unsigned integers"):
        model.run({"a": np.ones(1, np.float32)})
