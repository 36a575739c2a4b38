"""Intermediate tensors as outputs."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.capture import FloatSession, capture, expose
from qdeploy.runtime.errors import InvalidInputError

TEXT = """
    <ir_version: 8, opset_import: ["": 17]>
    two (float[N, 4] x) => (float[N, 4] y) { a = MatMul (x, w) b = Relu (a) y = MatMul (b, w) }"""


@pytest.fixture
def captured(rng, onnx_file):
    path = onnx_file(TEXT, {"w": rng.normal(size=(4, 4)).astype(np.float32)})
    return capture(path, {"x": rng.random((2, 4))})


def test_all_tensors(captured):
    model = expose(captured.model)
    written = [node.output[0] for node in captured.model.graph.node]
    assert {output.name for output in model.graph.output} == set(written)
    assert model.graph.output[0].name == "y"
    results = FloatSession(model).run({"x": np.ones((3, 4), np.float32)})
    assert np.array_equal(np.maximum(results[written[0]], 0), results[written[1]])
    assert len(captured.model.graph.output) == 1


def test_some_tensors(captured):
    name = captured.model.graph.node[1].output[0]
    assert [output.name for output in expose(captured.model, [name, "y", name]).graph.output] == ["y", name]


def test_an_unknown_tensor(captured):
    with pytest.raises(InvalidInputError, match="tensor 'z': no node writes it, expected one of"):
        expose(captured.model, ["z"])
