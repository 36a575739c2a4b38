"""Layers over an algebra: captured with the algebra and its components, not with the matrix they make."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from qdeploy import export_model  # noqa: E402
from qdeploy.capture import capture  # noqa: E402
from qdeploy.models import PHMLinear  # noqa: E402


def test_linear_layers_keep_their_algebra(rng, run, operators):
    module = nn.Sequential(PHMLinear(4, 16, 32), nn.ReLU(), PHMLinear(2, 32, 6, bias=False)).eval()
    x = rng.random((5, 16)).astype(np.float32)
    captured = capture(module, {"x": x})
    matrix = "HypercomplexMatrix:blocked_to_blocked"
    assert operators(captured) == [matrix, "Linear:bias", "Relu", matrix, "Linear:no_bias"]
    assert list(captured.model.graph.node[0].input) == ["0.a", "0.s"]
    (found,) = run(captured, {"x": x}).values()
    np.testing.assert_allclose(found, module(torch.from_numpy(x)).detach().numpy(), atol=1e-5)


def test_a_bundle_of_learned_algebras(rng, tmp_path):
    module = nn.Sequential(PHMLinear(4, 64, 32), nn.ReLU(), nn.Linear(32, 5))
    bundle = export_model(module, tmp_path / "phm", calibration={"x": rng.random((32, 64)).astype(np.float32)})
    assert bundle.verify().passed
    report = bundle.inspect()
    assert report.operators["HypercomplexMatrix"] == 1
    # 64 numbers of two bytes, 512 of one, 32 factors of two bytes, for a matrix of 2048.
    assert any(
        "4 components of an algebra of 4 x 4: 704 bytes; 2,048 as a real matrix" in line for line in report.lines()
    )
    assert report.float_bytes == 4 * (64 * 32 + 32 + 32 * 5 + 5)
