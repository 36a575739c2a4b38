"""Layout operators, constants and reductions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.runtime.errors import ContractError

X = np.arange(24, dtype=np.int32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("Reshape <> (x, s)", "int64[2] s = {0, -1}"),
        ("Reshape(x, s)", "int64[4] s = {4, 1, -1, 3}"),
        ("Flatten <axis = 2> (x)", ""),
        ("Flatten <axis = 0> (x)", ""),
        ("Flatten <axis = -1> (x)", ""),
        ("Transpose(x)", ""),
        ("Transpose <perm = [1, 0, 2]> (x)", ""),
        ("Unsqueeze(x, s)", "int64[2] s = {0, -1}"),
        ("Concat <axis = -2> (x, x)", ""),
        ("Concat <axis = 0> (x, x, x)", ""),
        ("Expand(x, s)", "int64[4] s = {5, 1, 1, 4}"),
        ("Tile(x, s)", "int64[3] s = {1, 2, 3}"),
        ("Identity(x)", ""),
        ("ReduceSum(x, s)", "int64[1] s = {-1}"),
        ("ReduceSum <keepdims = 0> (x, s)", "int64[2] s = {0, 2}"),
        ("ReduceSum <keepdims = 0> (x)", ""),
        ("ReduceMax <keepdims = 0> (x, s)", "int64[1] s = {1}"),
        ("ReduceMin(x)", ""),
        ("ReduceProd <keepdims = 0> (x, s)", "int64[1] s = {2}"),
        ("Gather <axis = 1> (x, s)", "int64[2,2] s = {0, -1, 2, -3}"),
        ("Gather <axis = -1> (x, s)", "int32 s = {1}"),
        ("Gather(x, s)", "int64 s = {-1}"),
    ],
)
def test_as_onnxruntime(compare, call, result):
    head = f"g (int32[A,B,C] x) => (y) <{result}>" if result else "g (int32[A,B,C] x) => (int32 y)"
    text = f"{head} {{ y = {call} }}".replace("<> ", "")
    compare(text.replace("(int32 y)", "(y)"), {"x": X}, onnxruntime=False)
    compare(_typed(text, call, result), {"x": X}, reference=False)


def _typed(text: str, call: str, result: str) -> str:
    """onnxruntime wants a type on outputs; its rank is whatever onnx.reference gives."""
    from onnx import parser
    from onnx.reference import ReferenceEvaluator

    model = parser.parse_model('<ir_version: 10, opset_import: ["": 18]> ' + text.replace("(int32 y)", "(y)"))
    (y,) = ReferenceEvaluator(model).run(None, {"x": X})
    dims = f"[{','.join('?' * np.ndim(y))}]" if np.ndim(y) else ""
    return text.replace("(int32 y)", "(y)").replace("=> (y)", f"=> (int32{dims} y)")


@given(
    starts=st.lists(st.integers(-6, 6), min_size=1, max_size=3),
    ends=st.lists(st.integers(-(2**40), 2**40) | st.integers(-6, 6), min_size=3, max_size=3),
    steps=st.lists(st.sampled_from([-3, -2, -1, 1, 2, 5]), min_size=3, max_size=3),
)
@settings(max_examples=150)
def test_slice(compare, starts, ends, steps):
    n = len(starts)
    text = (
        "g (int32[A,B,C] x, int64[N] s, int64[N] e, int64[N] a, int64[N] t) => (int32[D,E,F] y) "
        "{ y = Slice(x, s, e, a, t) }"
    )
    axes = [-1, 0, 1][:n]
    feeds = {"s": starts, "e": ends[:n], "a": axes, "t": steps[:n]}
    compare(text, {"x": X} | {k: np.array(v, np.int64) for k, v in feeds.items()}, reference=False)


def test_slice_without_axes(compare):
    text = "g (int32[A,B,C] x) => (int32[D,E,F] y) <int64[2] s = {1, 0}, int64[2] e = {9, -1}> { y = Slice(x, s, e) }"
    (y,) = compare(text, {"x": X})
    assert y.shape == (1, 2, 4)


@given(seed=st.integers(0, 2**32 - 1), axis=st.integers(-2, 1))
def test_gather_elements(compare, seed, axis):
    """A table per unit: [256, H] indexed by [B, H]; negative indices count from the end."""
    rng = np.random.default_rng(seed)
    table = rng.integers(-128, 128, (16, 5), np.int8)
    shape = (3, 5) if axis % 2 == 0 else (16, 2)
    size = table.shape[axis]
    indices = rng.integers(-size, size, shape)
    text = f"g (int8[A,B] x, int64[C,D] i) => (int8[C,D] y) {{ y = GatherElements <axis = {axis}> (x, i) }}"
    compare(text, {"x": table, "i": indices}, reference=False)


@given(seed=st.integers(0, 2**32 - 1), axis=st.integers(-2, 1))
def test_scatter_elements(compare, seed, axis):
    """Indices without repeats, negative ones from the end."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (6, 5), np.int8)
    size = x.shape[axis]
    shape = (3, 5) if axis % 2 == 0 else (6, 2)
    order = rng.permuted(np.tile(np.arange(size), (shape[1 - axis % 2], 1)), axis=1)[:, : shape[axis % 2]]
    indices = (order.T if axis % 2 == 0 else order) - size * rng.integers(0, 2, shape)
    updates = rng.integers(-128, 128, shape, np.int8)
    text = (
        "g (int8[A,B] x, int64[C,D] i, int8[C,D] u) => (int8[A,B] y) "
        f"{{ y = ScatterElements <axis = {axis}> (x, i, u) }}"
    )
    compare(text, {"x": x, "i": indices, "u": updates})


def test_scatter_elements_of_other_shapes(body):
    model = body("g (int32[A] x, int64[N] i, int32[M] u) => (int32[A] y) { y = ScatterElements(x, i, u) }")
    for indices, updates in ((np.array([3]), X[0, 0, :1]), (np.array([0, 1]), X[0, 0, :1])):
        with pytest.raises(ContractError, match="ScatterElements_0"):
            model.run({"x": X[0, 0, :3], "i": indices, "u": updates})


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_running_sums(compare, kind, axis):
    x = np.array([[2**30, 2**30, 5], [-3, 2**30, 2**31 - 1]], kind)
    compare(f"g ({kind}[A,B] x) => ({kind}[A,B] y) <int32 a = {{{axis}}}> {{ y = CumSum(x, a) }}", {"x": x})


def test_squeeze(compare):
    x = X.reshape(2, 1, 3, 1, 4)
    text = """g (int32[A,1,B,1,C] x) => (int32[A,B,C] y, int32[A,B,1,C] z) <int64[1] a = {1}> {
        y = Squeeze(x)
        z = Squeeze(x, a)
    }"""
    compare(text, {"x": x})


def test_shape_range_and_filled(compare):
    text = """g (int32[A,B,C] x) => (int64[3] s, int64[1] t, int64[N] r, int32[A,B,C] f)
            <int64 o = {1}, int64 l = {9}, int64 d = {3}> {
        s = Shape(x)  t = Shape <start = -1> (x)  r = Range(o, l, d)
        f = ConstantOfShape <value = int32[1] {7}> (s)
    }"""
    compare(text, {"x": X})


def test_constants(compare):
    text = """g (int64[N] x) => (int64[N] y, int64[N] z, uint8[2] t) {
        one = Constant <value_int = 5> ()  two = Constant <value_ints = [1, 2]> ()
        t = Constant <value = uint8[2] {3, 255}> ()
        y = Add(x, one)  z = Add(x, two)
    }"""
    compare(text, {"x": np.array([1, 2])})


@pytest.mark.parametrize("operator", ["Gather", "GatherElements"])
def test_an_index_outside_is_an_error(body, operator):
    model = body(f"g (int32[A] x, int64[N] i) => (int32[N] y) {{ y = {operator}(x, i) }}")
    for index in (3, -4):
        with pytest.raises(ContractError, match=f"{operator}_0"):
            model.run({"x": X[0, 0, :3], "i": np.array([index])})


def test_an_absurd_size_is_an_error(body):
    model = body("g (int64[N] s) => (int32[A,B] y) { y = ConstantOfShape <value = int32[1] {7}> (s) }")
    with pytest.raises(ContractError, match="at most"):
        model.run({"s": np.array([1 << 20, 1 << 20])})


def test_reduce_sum_wraps(body):
    (y,) = (
        body("g (int32[N] x) => (int32[1] y) { y = ReduceSum(x) }").run({"x": np.full(3, 2**31 - 1, np.int32)}).values()
    )
    assert y.dtype == np.int32
    assert y.tolist() == [(3 * (2**31 - 1) + 2**31) % 2**32 - 2**31]
