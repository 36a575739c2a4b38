"""Single convolutions with ReLU, one thread: our bodies beside onnxruntime's float Conv, with random weights.

``python -m benchmarks.conv_layers`` prints the table of docs/convolution.md: microseconds of processor time a sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.parser

from benchmarks.loops import one_thread_session
from benchmarks.quaternion_linear import medians
from qdeploy.export.onnx import attach_bodies
from qdeploy.export.onnx.conv import images_form
from qdeploy.export.onnx.functions import BODIES

LAYERS = (
    ("3x3, 4 to 64", 4, 64, 1, 32, 3, 1),
    ("3x3, 64 to 64", 64, 64, 1, 32, 3, 1),
    ("3x3, 64 to 128, strides 2", 64, 128, 1, 32, 3, 2),
    ("3x3, 256 to 256", 256, 256, 1, 8, 3, 1),
    ("1x1, 64 to 128", 64, 128, 1, 32, 1, 1),
    ("1x1, 512 to 512", 512, 512, 1, 4, 1, 1),
    ("3x3, 64, depthwise quaternion", 64, 64, 16, 32, 3, 1),
    ("3x3, 512, depthwise quaternion", 512, 512, 128, 4, 3, 1),
    ("3x3, 64, depthwise real", 64, 64, 64, 32, 3, 1),
)
"""Name, channels, outputs, groups, side of the image, side of the kernel, strides."""

BATCHES = (1, 16)
FLOAT, DEFAULT, SEVEN_BITS, CONV_INTEGER, QLINEAR = "float", "8 bits", "7 bits", "ConvInteger", "qlinear"
CONTENDERS = (FLOAT, DEFAULT, SEVEN_BITS, CONV_INTEGER, QLINEAR)


def integer_layer(
    layer: tuple[str, int, int, int, int, int, int], bits: int, *, qlinear: bool = False
) -> onnx.ModelProto:
    """One ``Conv``: weights of 8 bits with multipliers of 15, or weights of 7 bits with multipliers of 8.

    With ``qlinear`` a ``QLinearConv`` whose multipliers are powers of two.
    """
    _, channels, outputs, groups, side, kernel, strides = layer
    rng = np.random.default_rng(bits)
    top, multipliers, shift = (127, (2**14, 2**15), 28) if bits == 8 else (63, (2**7, 2**8), 19)
    constants = {
        "w": rng.integers(-top, top + 1, (outputs, channels // groups, kernel, kernel)).astype(np.int8),
        "b": rng.integers(-999, 999, outputs).astype(np.int32),
        "m": rng.integers(*multipliers, outputs).astype(np.int32),
    }
    rounding = {"rounding": "half_even"} if qlinear else {}
    if qlinear:
        constants["m"] = (1 << rng.integers(7, 11, outputs)).astype(np.int32)
    value = onnx.helper.make_tensor_value_info
    operator = "QLinearConv" if qlinear else "Conv"
    node = onnx.helper.make_node(
        operator, ["x", *constants], ["y"], name="layer", domain="qdeploy", strides=[strides] * 2, pads=[kernel // 2] * 4,
        dilations=[1, 1], group=groups, x_zero_point=0, shift=shift, y_zero_point=0, low=0, high=255, dtype=2, **rounding,
    )  # fmt: skip
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [value("x", onnx.TensorProto.UINT8, ["batch", channels, side, side])],
        [value("y", onnx.TensorProto.UINT8, ["batch", outputs, "rows", "columns"])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets)


def float_layer(layer: tuple[str, int, int, int, int, int, int]) -> onnx.ModelProto:
    """The same in float32, as onnxruntime fuses it."""
    _, channels, outputs, groups, side, kernel, strides = layer
    at = f"pads = {[kernel // 2] * 4}, group = {groups}, strides = {[strides] * 2}"
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g (float[batch, {channels}, {side}, {side}] x) => '
        f"(float[batch, {outputs}, rows, columns] y) {{ c = Conv <{at}> (x, w)\n y = Relu (c) }}"
    )
    weight = np.random.default_rng(0).standard_normal((outputs, channels // groups, kernel, kernel))
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight.astype(np.float32), "w"))
    return model


def measure(layer: tuple[str, int, int, int, int, int, int], batch: int) -> dict[str, float]:
    """Microseconds a sample, by contender."""
    x = np.random.default_rng(batch).integers(0, 256, (batch, layer[1], layer[4], layer[4])).astype(np.uint8)
    eight = integer_layer(layer, 8)
    chosen = BODIES["Conv"]
    try:
        BODIES["Conv"] = images_form
        by_images = attach_bodies(eight)
    finally:
        BODIES["Conv"] = chosen
    models = {
        FLOAT: (float_layer(layer), x.astype(np.float32)),
        DEFAULT: (attach_bodies(eight), x),
        SEVEN_BITS: (attach_bodies(integer_layer(layer, 7)), x),
        CONV_INTEGER: (by_images, x),
        QLINEAR: (attach_bodies(integer_layer(layer, 7, qlinear=True)), x),
    }
    sessions = {name: one_thread_session(model) for name, (model, _) in models.items()}
    calls: dict[str, Callable[[], Any]] = {
        name: lambda s=sessions[name], given=given: s.run(None, {"x": given})  # type: ignore[misc]
        for name, (_, given) in models.items()
    }
    return {name: value / batch for name, value in medians(calls).items()}


def main() -> None:
    """Prints the table."""
    print("| layer | batch | " + " | ".join(CONTENDERS) + " |")
    print("|---|---|" + "---|" * len(CONTENDERS))
    for layer in LAYERS:
        for batch in BATCHES:
            found = measure(layer, batch)
            print(f"| {layer[0]} | {batch} | " + " | ".join(f"{found[name]:.0f}" for name in CONTENDERS) + " |")


if __name__ == "__main__":
    main()
