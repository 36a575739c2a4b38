"""What capture's tests share: random samples, models from ONNX text, and runs of captured models."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from qdeploy.capture import FloatSession


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def onnx_file(tmp_path):
    """Writes a model in ONNX text, with weights for its initializers, and gives the path."""

    def write(text, weights=None, *, name="model.onnx"):
        model = onnx.parser.parse_model(text)
        for key, array in (weights or {}).items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), key))
        onnx.checker.check_model(model)
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return write


@pytest.fixture
def operators():
    """The operators of a captured model in their order; those of the float domain with their overload."""

    def of(captured):
        return [
            f"{node.op_type}:{node.overload}".removesuffix(":") if node.domain else node.op_type
            for node in captured.model.graph.node
        ]

    return of


@pytest.fixture
def run():
    """Runs a captured model on samples [N, ...]."""

    def of(captured, samples):
        return FloatSession(captured.model).run(captured.arrange(samples))

    return of
