"""Float ONNX files with weights over an algebra: made in the graph of what was trained, or stored in full."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.capture import FloatSession, capture

HEAD = '<ir_version: 8, opset_import: ["": 18]>'

STORED = f"""{HEAD}
    stored (float[batch, 32] x) => (float[batch, 24] y) <float[24, 32] w, float[24] b> {{
        y = Gemm <transB = 1> (x, w, b)
    }}"""

FROM_THE_LEFT = f"""{HEAD}
    left (float[batch, 32] x) => (float[batch, 24] y) <float[32, 24] w> {{
        y = MatMul (x, w)
    }}"""

KERNELS = f"""{HEAD}
    kernels (float[batch, 8, 5, 5] x) => (float[batch, 12, 3, 3] y) <float[12, 8, 3, 3] w> {{
        y = Conv (x, w)
    }}"""

LEARNED = f"""{HEAD}
    learned (float[batch, 32] x) => (float[batch, 24] y) <float[4, 4, 4] a, float[4, 6, 8] s> {{
        a_axes = Constant <value = int64[2] {{2, 4}}> ()
        s_axes = Constant <value = int64[2] {{1, 3}}> ()
        wide_a = Unsqueeze (a, a_axes)
        wide_s = Unsqueeze (s, s_axes)
        products = Mul (wide_a, wide_s)
        shape = Constant <value = int64[3] {{4, 24, 32}}> ()
        matrices = Reshape (products, shape)
        first = Constant <value = int64[1] {{0}}> ()
        w = ReduceSum <keepdims = 0> (matrices, first)
        y = Gemm <transB = 1> (x, w)
    }}"""


def captured_file(onnx_file, rng, text, weights, shape):
    """The captured model, which capture compares with the file, and the samples."""
    samples = {"x": rng.random(shape).astype(np.float32)}
    return capture(onnx_file(text, weights), samples), samples


def hamilton(r, i, j, k):
    rows = [[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]]
    return np.concatenate([np.concatenate(row, 1) for row in rows])


def stored(captured):
    return sum(int(np.prod(tensor.dims)) for tensor in captured.model.graph.initializer)


def test_quaternions_in_full(rng, onnx_file, operators):
    weights = {
        "w": hamilton(*rng.normal(size=(4, 6, 8)).astype(np.float32)),
        "b": rng.normal(size=24).astype(np.float32),
    }
    captured, _ = captured_file(onnx_file, rng, STORED, weights, (3, 32))
    assert operators(captured) == ["HamiltonMatrix:blocked", "Linear:bias"]
    assert stored(captured) == 4 * 48 + 24
    assert any("6 x 8 quaternions" in note for note in captured.notes)


def test_quaternions_from_the_left(rng, onnx_file, operators):
    # x @ L(w): the conjugate's product.
    weights = {"w": hamilton(*rng.normal(size=(4, 8, 6)).astype(np.float32))}
    captured, _ = captured_file(onnx_file, rng, FROM_THE_LEFT, weights, (3, 32))
    assert operators(captured) == ["HamiltonMatrix:blocked", "Linear:no_bias"]
    assert stored(captured) == 4 * 48


def test_one_number_less_is_no_quaternion(rng, onnx_file, operators):
    matrix = hamilton(*rng.normal(size=(4, 6, 8)).astype(np.float32))
    matrix[13, 5] = np.nextafter(matrix[13, 5], np.float32(9))
    captured, _ = captured_file(onnx_file, rng, STORED, {"w": matrix, "b": np.ones(24, np.float32)}, (3, 32))
    # Four blocks and the one that differs a little are still fewer than sixteen, and give every number back.
    assert operators(captured) == ["HypercomplexMatrix:blocked_to_blocked", "Linear:bias"]
    (matrices,) = (node for node in captured.model.graph.node if node.op_type == "HypercomplexMatrix")
    parts = {t.name: np.frombuffer(t.raw_data, np.float32).reshape(t.dims) for t in captured.model.graph.initializer}
    a, s = (parts[name] for name in matrices.input)
    assert len(s) == 5
    assert np.array_equal(sum(np.kron(first, second) for first, second in zip(a, s, strict=True)), matrix)


@pytest.mark.parametrize("mixed", [False, True])
def test_kernels_in_full(rng, onnx_file, operators, mixed):
    taps = hamilton(*rng.normal(size=(4, 3, 2, 3, 3)).astype(np.float32))
    if mixed:
        a, s = rng.normal(size=(2, 2, 2)).astype(np.float32), rng.normal(size=(2, 6, 4, 3, 3)).astype(np.float32)
        taps = np.einsum("ipu,iqvhw->pquvhw", a, s).reshape(12, 8, 3, 3)
    captured, samples = captured_file(onnx_file, rng, KERNELS, {"w": taps}, (3, 8, 5, 5))
    assert operators(captured)[0].startswith("HypercomplexMatrix" if mixed else "HamiltonMatrix")
    assert stored(captured) == (8 + taps.size // 2 if mixed else taps.size // 4)
    assert FloatSession(captured.model).run(captured.arrange(samples))["y"].shape == (3, 12, 3, 3)


def test_a_learned_algebra_in_the_graph(rng, onnx_file, operators):
    weights = {"a": rng.normal(size=(4, 4, 4)).astype(np.float32), "s": rng.normal(size=(4, 6, 8)).astype(np.float32)}
    captured, _ = captured_file(onnx_file, rng, LEARNED, weights, (3, 32))
    assert operators(captured) == ["HypercomplexMatrix:blocked_to_blocked", "Linear:no_bias"]
    assert stored(captured) == 64 + 192
    assert any("sum of 4 Kronecker products" in note for note in captured.notes)


def test_other_weights_are_left_alone(rng, onnx_file, operators):
    weights = {"w": rng.normal(size=(24, 32)).astype(np.float32), "b": np.zeros(24, np.float32)}
    captured, _ = captured_file(onnx_file, rng, STORED, weights, (3, 32))
    assert operators(captured) == ["Linear:bias"]
    assert not captured.notes
