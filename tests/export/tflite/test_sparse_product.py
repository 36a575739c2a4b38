"""Products with matrices of few weights, in LiteRT itself, against the whole matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.sparse_product import SparseProduct
from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime.litert_interpreter import RESOLVERS, interpreter_module

HIDDEN = 96


def delay_line() -> NDArray[np.int8]:
    """One weight a row."""
    return np.roll(np.eye(HIDDEN, dtype=np.int8), 5, axis=1) * np.arange(1, HIDDEN + 1, dtype=np.int8)[:, None]


def scattered(longest: int) -> NDArray[np.int8]:
    """Rows of nothing up to ``longest`` weights; -128 is among them."""
    weight = np.zeros((HIDDEN, HIDDEN), np.int8)
    generator = np.random.default_rng(longest)
    for row in range(HIDDEN):
        weight[row, generator.choice(HIDDEN, row % (longest + 1), replace=False)] = generator.integers(-128, 128)
    weight[longest] = 0
    weight[longest, -longest:] = -128
    return weight


def in_litert(product: SparseProduct, state: NDArray[Any], resolver: str) -> NDArray[Any]:
    """The product as a model of its own."""
    writer = ModelWriter("test")
    number, graph = writer.subgraph("main")
    code = Code(graph)
    h = graph.input("h", np.int32, (1, HIDDEN))
    held = product.digits.split(code, h)
    assert product.digits.joined(code, held) == h
    y = code.add(product.of_digits(code, held), product.rest)
    graph.output(y)
    writer.signature("serving_default", number, {"h": h}, {"y": y})
    module = interpreter_module()
    kernels = getattr(module.OpResolverType, RESOLVERS[resolver])
    interpreter = module.Interpreter(model_content=writer.to_bytes(), experimental_op_resolver_type=kernels)
    found: NDArray[Any] = interpreter.get_signature_runner()(h=state)["y"]
    return found


@pytest.mark.litert
@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize(
    "weight",
    [delay_line(), scattered(2), scattered(6), np.zeros((HIDDEN, HIDDEN), np.int8)],
    ids=["one weight a row", "two", "six", "nothing"],
)
@pytest.mark.parametrize("zero_point", [0, 130])
def test_it_gives_what_the_whole_matrix_gives(weight: NDArray[np.int8], zero_point: int, resolver: str) -> None:
    product = SparseProduct.of(weight, zero_point)
    assert product is not None
    generator = np.random.default_rng(1)
    for state in generator.integers(-(2**15), 2**15, (4, 1, HIDDEN)).astype(np.int32):
        found = in_litert(product, state, resolver)
        assert (found == (state.astype(np.int64) - zero_point) @ weight.T.astype(np.int64)).all()


def test_a_matrix_of_more_weights_stays_dense() -> None:
    weight = np.zeros((HIDDEN, HIDDEN), np.int8)
    weight[7, : HIDDEN // 16] = 1
    assert SparseProduct.of(weight, 0) is not None
    weight[7, HIDDEN // 16] = 1
    assert SparseProduct.of(weight, 0) is None
