"""Operators that end a runtime's process, or are wrong there without a word, are seen; ours have none (test_borders)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdeploy.export.tflite.reader import read_tflite
from qdeploy.export.tflite.traps import check_traps
from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime.errors import InvalidFileError

pytestmark = [pytest.mark.litert, pytest.mark.needs("flatbuffers")]


def refusal(
    kind: str, inputs: list[tuple[Any, float | None]], output: tuple[Any, float | None], weight: Any = None
) -> str:
    """What is said of one operator with inputs and an output of these types and scales."""
    writer = ModelWriter("test")
    number, graph = writer.subgraph("main")
    values = [graph.input(f"x{i}", dtype, (1, 4, 4), scale=scale) for i, (dtype, scale) in enumerate(inputs)]
    given = {f"x{i}": value for i, value in enumerate(values)}
    if weight is not None:
        values.append(graph.constant(weight, np.int8))
    y = graph.tensor("y", output[0], (1, 4, 4), scale=output[1])
    graph.add_several(kind, values, [y])
    graph.output(y)
    writer.signature("serving_default", number, given, {"y": y})
    content = writer.to_bytes()
    with pytest.raises(InvalidFileError) as error:
        check_traps(content, read_tflite(content, "out"), "out")
    assert str(error.value).startswith(f"out: operator 0 of subgraph 'main', {kind}: ")
    return str(error.value)


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "LESS", "MAXIMUM"])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_bytes_without_a_scale_in_arithmetic(kind: str, dtype: Any) -> None:
    said = refusal(kind, [(dtype, None), (dtype, None)], (dtype, None))
    assert f"found {np.dtype(dtype).name} without a scale, which ends the process; expected int32" in said


@pytest.mark.parametrize("output", [np.int8, np.int16])
def test_products_into_less_than_the_accumulator(output: Any) -> None:
    said = refusal("BATCH_MATMUL", [(np.int8, None), (np.int8, None)], (output, None))
    assert f"found int8, int8, {np.dtype(output).name}; expected the raw accumulator" in said


def test_a_weight_of_minus_128() -> None:
    weight = np.ones((1, 4, 4), np.int8)
    weight[0, 2, 3] = -128
    assert "found a weight of -128" in refusal("BATCH_MATMUL", [(np.int8, None)], (np.int32, None), weight)


@pytest.mark.parametrize("output", [np.int16, np.int32])
def test_quantized_layers_into_wider_types(output: Any) -> None:
    said = refusal("FULLY_CONNECTED", [(np.int8, 0.5), (np.int8, 0.5)], (output, 0.5))
    assert f"found int8 into {np.dtype(output).name}" in said


def test_quantized_layers_without_a_scale() -> None:
    said = refusal("CONV_2D", [(np.int8, 0.5), (np.int8, None)], (np.int8, 0.5))
    assert "found a tensor without a scale" in said
