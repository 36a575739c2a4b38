"""Products with Hadamard blocks as factors, in LiteRT itself, against the matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.hadamard_product import HadamardProduct
from qdeploy.export.tflite.product import Digits
from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime.litert_interpreter import interpreter_module
from qdeploy.runtime.ops.hadamard_matrix import hadamard_transform


def matrix(size: int, block: int, seed: int) -> Any:
    """Random signs times Hadamard blocks."""
    signs = np.random.default_rng(seed).choice([-1, 1], size).astype(np.int8)
    blocks = np.kron(np.eye(size // block, dtype=np.int8), hadamard_transform(np.eye(block, dtype=np.int8)))
    return signs[:, None] * blocks


@pytest.mark.litert
@pytest.mark.parametrize(("size", "block"), [(2, 2), (48, 16), (64, 64), (192, 64), (256, 256)])
@pytest.mark.parametrize(
    ("kind", "low", "high", "zero_point"),
    [(np.uint8, 0, 255, 3), (np.int16, -2048, 2047, 0), (np.int16, -(2**15), 2**15 - 1, 0), (np.int16, 0, 4095, 0)],
)
def test_factors_give_what_the_matrix_gives(
    size: int, block: int, kind: Any, low: int, high: int, zero_point: int
) -> None:
    weight = matrix(size, block, size + high)
    product = HadamardProduct.of(weight, np.dtype(kind), zero_point, low, high)
    assert product is not None
    assert product.left * product.right == block
    writer = ModelWriter("test")
    number, graph = writer.subgraph("main")
    code = Code(graph)
    x = graph.input("x", np.int32, (1, size))
    y = code.add(product.of_digits(code, product.digits.split(code, x)), product.rest)
    graph.output(y)
    writer.signature("serving_default", number, {"x": x}, {"y": y})
    runner = interpreter_module().Interpreter(model_content=writer.to_bytes()).get_signature_runner()
    generator = np.random.default_rng(block)
    extremes = [np.full(size, low), np.full(size, high), np.where(weight[-1] > 0, high, low)]
    for sample in [*extremes, *generator.integers(low, high + 1, (5, size))]:
        found = runner(x=sample[None].astype(np.int32))["y"]
        assert (found == weight.astype(np.int64) @ (sample - zero_point)).all()


def test_wide_blocks_are_two_factors_and_small_ones_a_single_product() -> None:
    for block, state, factors in ((512, 12, (64, 8)), (512, 8, (32, 16)), (16, 12, (1, 16)), (512, 16, (1, 512))):
        low, high = (0, 255) if state == 8 else (-(2 ** (state - 1)), 2 ** (state - 1) - 1)
        kind = np.dtype(np.uint8 if state == 8 else np.int16)
        product = HadamardProduct.of(matrix(block, block, 1), kind, 0, low, high)
        assert product is not None
        assert (product.left, product.right) == factors
        assert product.digits == Digits.of(kind)


def test_another_matrix_has_no_such_form() -> None:
    weight = matrix(64, 64, 0)
    weight[5, 9] *= -1
    assert HadamardProduct.of(weight, np.dtype(np.int16), 0, -2048, 2047) is None
