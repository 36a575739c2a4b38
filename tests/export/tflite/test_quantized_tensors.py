"""Scales of tensors, one or one for every entry of an axis, as a runtime reads them out of the file."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime.litert_interpreter import interpreter_module

pytestmark = pytest.mark.litert


@pytest.mark.parametrize(("scale", "axis"), [(0.25, 0), ([0.5, 0.25, 0.125], 0), ([0.5, 0.25], 1)])
def test_a_runtime_reads_the_scales_and_their_axis(scale: float | list[float], axis: int) -> None:
    weight = np.array([[1, -2], [3, 4], [-5, 127]], np.int8)
    writer = ModelWriter("scales")
    number, graph = writer.subgraph("main")
    x = graph.input("x", np.int8, (1, 2), scale=0.5, zero_point=3)
    held = graph.constant(weight, np.int8, "weight", scale=scale, scaled_axis=axis)
    y = graph.add("GATHER", [held, graph.constant([0])], np.int8, (1, 2))
    graph.output(y)
    writer.signature("main", number, {"x": x}, {"y": y})
    interpreter = interpreter_module().Interpreter(model_content=writer.to_bytes())
    found = {tensor["name"]: tensor["quantization_parameters"] for tensor in interpreter.get_tensor_details()}
    assert found["x"]["scales"].tolist() == [0.5]
    assert found["x"]["zero_points"].tolist() == [3]
    assert found["weight"]["scales"].tolist() == np.atleast_1d(scale).tolist()
    assert found["weight"]["zero_points"].tolist() == [0] * np.size(scale)
    assert found["weight"]["quantized_dimension"] == axis


def test_the_same_integers_at_other_scales_are_two_tensors_on_one_buffer() -> None:
    writer = ModelWriter("scales")
    _, graph = writer.subgraph("main")
    first = graph.constant([1, 2], np.int8, "first", scale=0.5)
    second = graph.constant([1, 2], np.int8, "second", scale=0.25)
    assert first.index != second.index
    assert graph.tensors[first.index].buffer == graph.tensors[second.index].buffer
