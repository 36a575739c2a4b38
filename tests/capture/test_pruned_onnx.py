"""Pruned weights in float ONNX files: masks as constants that multiply weights, as an exporter that does not fold leaves them."""

from __future__ import annotations

import numpy as np

from qdeploy.capture import capture

HEAD = '<ir_version: 8, opset_import: ["": 18]>'


def test_a_mask_times_a_weight_is_a_weight(onnx_file, run, operators, rng):
    original = rng.normal(size=(4, 6)).astype(np.float32)
    mask = (rng.random((4, 6)) < 0.5).astype(np.float32)
    text = """g (float[batch, 6] x) => (float[batch, 4] y) {
        w = Mul (original, mask)
        y = Gemm <transB = 1> (x, w, bias)
    }"""
    bias = np.ones(4, np.float32)
    path = onnx_file(f"{HEAD} {text}", {"original": original, "mask": mask, "bias": bias})
    captured = capture(path, {"x": rng.random((3, 6))})
    assert operators(captured) == ["Linear:bias"]
    x = rng.random((2, 6)).astype(np.float32)
    np.testing.assert_allclose(run(captured, {"x": x})["y"], x @ (original * mask).T + bias, rtol=1e-5)
