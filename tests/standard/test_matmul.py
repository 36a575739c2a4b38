"""MatMulInteger and MatMul: every sign, zero points, constants and variables, wrap-around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.runtime.errors import ContractError


def _bytes(rng: np.random.Generator, dtype: str, shape: tuple[int, ...], extreme: bool) -> np.ndarray:
    limits = np.iinfo(dtype)
    if extreme:
        return rng.choice([limits.min, limits.max], shape).astype(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@given(
    a_type=st.sampled_from(["uint8", "int8"]),
    b_type=st.sampled_from(["uint8", "int8"]),
    sizes=st.tuples(*[st.integers(1, 40)] * 3),
    extreme=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_variables_with_zero_points(compare, a_type, b_type, sizes, extreme, seed):
    m, k, n = sizes
    rng = np.random.default_rng(seed)
    text = (
        f"g ({a_type}[M,K] a, {b_type}[K,N] b, {a_type} az, {b_type}[N] bz) => (int32[M,N] y, int32[M,N] p) "
        "{ y = MatMulInteger(a, b, az, bz) p = MatMulInteger(a, b) }"
    )
    feeds = {
        "a": _bytes(rng, a_type, (m, k), extreme),
        "b": _bytes(rng, b_type, (k, n), extreme),
        "az": np.asarray(_bytes(rng, a_type, (), extreme)),
        "bz": _bytes(rng, b_type, (n,), extreme),
    }
    # onnxruntime multiplies pairs in 16 bits on processors without VNNI where u8 meets s8.
    y, _ = compare(text, feeds, onnxruntime=not (a_type == "uint8" and b_type == "int8" and extreme))
    a = feeds["a"].astype(np.int64) - feeds["az"]
    assert (y == a @ (feeds["b"].astype(np.int64) - feeds["bz"])).all()


@pytest.mark.parametrize(("k", "reason"), [(100, "float32"), (600, "float64")])
@pytest.mark.parametrize("zero", ["", ", z", ", z, w"])
def test_constant_weights_at_the_bounds(body, k, reason, zero):
    """All products of one sign and full size: 255 * 255 * 259 passes 2^24."""
    from onnx import numpy_helper, parser

    from qdeploy.runtime.standard import BodyModel

    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (uint8[M,K] a) => (int32[M,N] y) '
        f"<uint8 z = {{0}}, uint8[2] w = {{0, 255}}> {{ y = MatMulInteger(a, b{zero}) }}"
    )
    weights = np.full((k, 2), 255, np.uint8)
    weights[:, 1] = 0
    model.graph.initializer.append(numpy_helper.from_array(weights, "b"))
    (y,) = BodyModel(model).run({"a": np.full((1, k), 255, np.uint8)}).values()
    second = -255 * 255 * k if "w" in zero else 0
    assert y.tolist() == [[255 * 255 * k, second]]


@given(
    dtype=st.sampled_from(["int32", "uint32", "int64", "uint64"]), seed=st.integers(0, 2**32 - 1), small=st.booleans()
)
@settings(max_examples=60)
def test_matmul_wraps(compare, dtype, seed, small):
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    low, high = (0, 100) if small else (limits.min, limits.max)
    a, b = (rng.integers(low, high, shape, dtype) for shape in ((3, 5), (5, 4)))
    compare(f"g ({dtype}[M,K] a, {dtype}[K,N] b) => ({dtype}[M,N] y) {{ y = MatMul(a, b) }}", {"a": a, "b": b})


def test_matmul_with_constant_weights(body):
    """Over 64 weights within the bound go through float64; the result is the same."""
    from onnx import numpy_helper, parser

    from qdeploy.runtime.standard import BodyModel

    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (40, 9), np.int32)
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (int32[M,K] a) => (int32[M,N] y) { y = MatMul(a, b) }'
    )
    model.graph.initializer.append(numpy_helper.from_array(weights, "b"))
    a = np.concatenate([rng.integers(-(2**31), 2**31, (50, 40), np.int32), np.full((1, 40), -(2**31), np.int32)])
    (y,) = BodyModel(model).run({"a": a}).values()
    assert (y == (a.astype(np.int64) @ weights.astype(np.int64)).astype(np.int32)).all()


@pytest.mark.parametrize("shapes", [((2, 3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 1, 3, 4), (7, 4, 5))])
def test_ranks(compare, shapes):
    rng = np.random.default_rng(0)
    dims = [",".join("?" * len(shape)) for shape in shapes]
    rank = np.matmul(*(np.zeros(shape) for shape in shapes)).ndim
    a, b = (rng.integers(0, 255, shape, np.uint8) for shape in shapes)
    text = (
        f"g (uint8[{dims[0]}] a, uint8[{dims[1]}] b) => (int32[{','.join('?' * rank)}] y) {{ y = MatMulInteger(a, b) }}"
    )
    compare(text, {"a": a, "b": b}, onnxruntime=min(a.ndim, b.ndim) > 1)


def test_wide_operands_of_matmul_integer_are_refused(body):
    model = body("g (int16[M,K] a, int8[K,N] b) => (int32[M,N] y) { y = MatMulInteger(a, b) }")
    with pytest.raises(ContractError, match="A of type int16, expected int8 or uint8"):
        model.run({"a": np.ones((1, 1), np.int16), "b": np.ones((1, 1), np.int8)})
