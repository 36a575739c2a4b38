"""Single linear layers, one thread: our body beside onnxruntime's QLinearMatMul, weights of 7 bits.

``python -m benchmarks.qlinear_matmul`` prints the table of docs/convolution.md: microseconds a row. QLinearMatMul has no bias;
beside it stands the same with the bias as two more columns of the product, whose rows are made longer for it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray

from benchmarks.loops import one_thread_session
from benchmarks.quaternion_linear import medians
from qdeploy.export.onnx import attach_bodies

SIZES = ((4096, 256), (1024, 1024), (256, 256), (784, 300))
"""Inputs and outputs."""

ROWS = (1, 16, 64)
STRICT, QLINEAR, WITH_BIAS = "strict", "QLinearMatMul", "with a bias"

PLAIN = "g (uint8[B, K] x) => (uint8[B, N] y) { y = QLinearMatMul (x, one, zero, w, scale, zeros, one, zero) }"
LONGER = """g (uint8[B, K] x) => (uint8[B, N] y)
{
  rows = Shape <start = 0, end = 1> (x)
  shape = Concat <axis = 0> (rows, two)
  most = Expand (largest, shape)
  longer = Concat <axis = 1> (x, most)
  y = QLinearMatMul (longer, one, zero, w, scale, zeros, one, zero)
}"""


def strict_layer(weight: NDArray[np.int8]) -> onnx.ModelProto:
    """One ``Linear`` ``[N, K]`` with multipliers of 8 bits, as w7a8 has them."""
    outputs, inputs = weight.shape
    rng = np.random.default_rng(1)
    constants = {
        "w": weight,
        "b": rng.integers(-99, 99, outputs).astype(np.int32),
        "m": rng.integers(128, 256, outputs).astype(np.int32),
    }
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node(
        "Linear", ["x", *constants], ["y"], name="layer", domain="qdeploy", x_zero_point=0, shift=19, y_zero_point=0,
        low=0, high=255, dtype=2,
    )  # fmt: skip
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [value("x", onnx.TensorProto.UINT8, ["B", inputs])],
        [value("y", onnx.TensorProto.UINT8, ["B", outputs])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    return attach_bodies(onnx.helper.make_model(graph, opset_imports=opsets))


def qlinear_layer(weight: NDArray[np.int8], *, bias: bool) -> onnx.ModelProto:
    """The same by the standard operator, whose scales are powers of two."""
    outputs = len(weight)
    rng = np.random.default_rng(2)
    columns = [weight.T, rng.integers(-63, 64, (2, outputs)).astype(np.int8)] if bias else [weight.T]
    constants: dict[str, Any] = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "w": np.ascontiguousarray(np.concatenate(columns)),
        "scale": (2.0 ** -rng.integers(9, 12, outputs)).astype(np.float32),
        "zeros": np.zeros(outputs, np.int8),
        "two": np.array([2], np.int64),
        "largest": np.uint8(255),
    }
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> {LONGER if bias else PLAIN}')
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items() if name in used
    )
    return model


def measure(inputs: int, outputs: int, rows: int) -> dict[str, float]:
    """Microseconds a row, by contender."""
    rng = np.random.default_rng(rows)
    weight = rng.integers(-63, 64, (outputs, inputs)).astype(np.int8)
    models = {
        STRICT: strict_layer(weight),
        QLINEAR: qlinear_layer(weight, bias=False),
        WITH_BIAS: qlinear_layer(weight, bias=True),
    }
    x = rng.integers(0, 256, (rows, inputs)).astype(np.uint8)
    calls = {name: partial(one_thread_session(model).run, None, {"x": x}) for name, model in models.items()}
    return {name: value / rows for name, value in medians(calls).items()}


def main() -> None:
    """Prints the table."""
    print(f"| layer | batch | {STRICT} | {QLINEAR} | {WITH_BIAS} |")
    print("|---|---|---|---|---|")
    for inputs, outputs in SIZES:
        for rows in ROWS:
            found = measure(inputs, outputs, rows)
            cells = " | ".join(f"{found[name]:.2f}" for name in (STRICT, QLINEAR, WITH_BIAS))
            print(f"| {inputs} to {outputs} | {rows} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
