"""Convolutions of the shipped image networks in LiteRT: a product of windows, as our files have it, beside 16x8 CONV_2D.

CONV_2D of int16 images, int8 weights and an int64 bias gives the same bits in every runtime where its multiplier is a power of
two, and its result is 16 bits: so it can stand for a layer whose multiplier is 1, and for no other. Any other multiplier needs
the whole accumulator.

``python -m benchmarks.litert.convolution`` prints the table of docs/litert_costs.md: microseconds of the installed runtime.
The results are those of the reference, or it stops. ``make tflite-check`` leaves an environment with tflite-runtime in
build/tflite-runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.export.sample_graph import read_graph
from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.generator import SIGNATURE, tflite_file
from qdeploy.export.tflite.windows import channels_last, channels_second
from qdeploy.export.tflite.writer import ModelWriter, Value
from qdeploy.runtime.litert_interpreter import interpreter_module, version
from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.reference import ReferenceModel

__all__ = ["LAYERS", "Layer", "measure", "sixteen_by_eight"]

_SAME, _VALID = 0, 1
_SECONDS = 0.4
X_ZERO_POINT, Y_ZERO_POINT = 7, 3


@dataclass(frozen=True)
class Layer:
    """A convolution of images ``[C, side, side]`` with N kernels ``[C / groups, kernel, kernel]``; pads keep the image's size."""

    name: str
    channels: int
    outputs: int
    side: int
    kernel: int = 3
    groups: int = 1

    @property
    def pad(self) -> int:
        """On every side."""
        return self.kernel // 2


LAYERS = (
    Layer("Conv-2, first", 4, 64, 32),
    Layer("Conv-2, second", 64, 64, 32),
    Layer("Conv-4, third", 64, 128, 16),
    Layer("Conv-4, fourth", 128, 128, 16),
    Layer("Conv-6, fifth", 128, 256, 8),
    Layer("Conv-6, sixth", 256, 256, 8),
    Layer("ResNet, 16 channels", 16, 16, 32),
    Layer("ResNet, 32 channels", 32, 32, 16),
    Layer("ResNet, 64 channels", 64, 64, 8),
    Layer("ResNet, 128 channels", 128, 128, 4),
    Layer("1 x 1, 16 to 32", 16, 32, 16, kernel=1),
    Layer("1 x 1, 64 to 128", 64, 128, 4, kernel=1),
    Layer("depthwise, 64 channels", 64, 64, 16, groups=64),
)


def measure(layer: Layer) -> dict[str, float]:
    """Median microseconds of ``portable``, ``quaternion`` (the same with four components, where there can be) and ``16x8``."""
    rng = np.random.default_rng(layer.outputs)
    shape = (layer.outputs, layer.channels // layer.groups, layer.kernel, layer.kernel)
    weight = np.clip(np.rint(rng.standard_normal(shape) * 30), -127, 127).astype(np.int8)
    model, manifest = _integer_layer(layer, weight)
    files = {"portable": tflite_file(model, manifest), "16x8": sixteen_by_eight(model, manifest)}
    x = rng.integers(0, 256, (1, layer.channels, layer.side, layer.side)).astype(np.uint8)
    expected = dict.fromkeys(files, model)
    if layer.groups == 1 and layer.channels % 4 == 0:
        model, manifest = _integer_layer(layer, _quaternion(weight))
        files["quaternion"], expected["quaternion"] = tflite_file(model, manifest), model
    calls = {}
    for name, content in files.items():
        calls[name], found = _opened(content, x)
        if (found != ReferenceModel(expected[name]).run({"x": x}).outputs["y"]).any():
            message = f"{layer.name}, {name}: other integers than the reference's"
            raise RuntimeError(message)
    return _medians(calls)


def sixteen_by_eight(model: onnx.ModelProto, manifest: Manifest) -> bytes:
    """A file of one convolution with the multiplier 1, by CONV_2D of int16; its borders are those of ``tflite_file``."""
    graph = read_graph(model, manifest, at_once=True)
    (layer,) = graph.layers
    attributes, weight = layer.attributes, graph.constants[layer.inputs["weight"]]
    writer = ModelWriter("16x8")
    number, subgraph = writer.subgraph("main")
    code = Code(subgraph)
    tensor = graph.tensors["x"]
    x = subgraph.input("x", tensor.dtype, tensor.shape)
    centred = code.subtract(channels_last(code, code.cast(x, np.int32)), attributes["x_zero_point"])
    height, width, channels = (size or 0 for size in centred.shape)
    image = subgraph.tensor("", np.int16, (1, height, width, channels), scale=1.0)
    _into(code, "CAST", code.reshape(centred, image.shape), image, in_type=2, out_type=7)
    scale = [2.0 ** -attributes["shift"]] * len(weight)
    same = any(attributes["pads"])
    depthwise = attributes["group"] > 1
    arranged = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
    constants = [
        subgraph.constant(arranged, np.int8, scale=scale, scaled_axis=3 if depthwise else 0),
        subgraph.constant(graph.constants[layer.inputs["bias"]], np.int64, scale=scale),
    ]
    sums = subgraph.tensor("", np.int16, (1, height, width, len(weight)), scale=1.0)
    options = {"padding": _SAME if same else _VALID, "stride_h": 1, "stride_w": 1}
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    options |= {"depth_multiplier": 1} if depthwise else {}
    subgraph.add_several(kind, [image, *constants], [sums], **options)
    wide = code.add(code.cast(sums, np.int32), attributes["y_zero_point"])
    y = code.clip(code.reshape(wide, (height, width, len(weight))), attributes["low"], attributes["high"])
    result = code.cast(channels_second(code, y), np.uint8)
    subgraph.output(result)
    writer.signature(SIGNATURE, number, {"x": x}, {"y": result})
    return writer.to_bytes()


def _into(code: Code, kind: str, x: Value, result: Value, **options: int) -> None:
    code.subgraph.add_several(kind, [x], [result], **options)


def _integer_layer(layer: Layer, weight: NDArray[np.int8]) -> tuple[onnx.ModelProto, Manifest]:
    """One Conv node with the multiplier 1, from uint8 to uint8, and a manifest of it."""
    spread = float(np.sqrt((weight.astype(np.float64) ** 2).reshape(len(weight), -1).sum(axis=1)).mean()) * 140
    attributes: dict[str, Any] = {
        "strides": [1, 1], "pads": [layer.pad] * 4, "dilations": [1, 1], "group": layer.groups,
        "x_zero_point": X_ZERO_POINT, "shift": max(1, round(math.log2(spread / 60))), "y_zero_point": Y_ZERO_POINT,
        "low": 0, "high": 255, "dtype": 2,
    }  # fmt: skip
    bias = np.random.default_rng(1).integers(-2000, 2000, len(weight)).astype(np.int32)
    constants = {"w": weight, "b": bias, "m": np.ones(1, np.int32)}
    node = onnx.helper.make_node("Conv", ["x", *constants], ["y"], name="conv", domain="qdeploy", **attributes)
    shapes = {name: (size, layer.side, layer.side) for name, size in (("x", layer.channels), ("y", layer.outputs))}
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, ["batch", *shape])
        for name, shape in shapes.items()
    )
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "conv", [x], [y], initializers), opset_imports=opsets)
    manifest = Manifest(
        schema=1,
        qdeploy="benchmark",
        created_from={},
        recipe={},
        rounding="half_up",
        inputs=(
            InputSpec(
                name="x", float_name="x", dtype="uint8", shape=("batch", *shapes["x"]), scale=1.0,
                zero_point=X_ZERO_POINT, time_axis=None, batch_axis=0,
            ),
        ),
        outputs=(OutputSpec("y", "uint8", ("batch", *shapes["y"]), 1.0, Y_ZERO_POINT),),
        states=(),
        tensors={},
        layers=(),
        files={},
    )  # fmt: skip
    return model, manifest


def _quaternion(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """The kernel whose components are those of the first output quaternion's rows."""
    outputs, channels = weight.shape[:2]
    parts = weight[:, : channels // 4].reshape(4, outputs // 4, channels // 4, -1)
    taps = [
        OPERATORS["HamiltonMatrix"].meaning(Node("w"), *np.moveaxis(parts, 3, 0)[tap], grouping="blocked")[0]
        for tap in range(parts.shape[3])
    ]
    return np.stack(taps, -1).reshape(weight.shape)


def _opened(content: bytes, x: NDArray[np.uint8]) -> tuple[Callable[[], None], NDArray[Any]]:
    """A call of the runtime alone, and what it gives."""
    interpreter = interpreter_module().Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    found: NDArray[Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    invoke: Callable[[], None] = interpreter.invoke
    return invoke, found


def _medians(calls: dict[str, Callable[[], None]]) -> dict[str, float]:
    # The module of medians wants onnxruntime, which tflite-runtime's environment lacks.
    import time

    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.thread_time() + _SECONDS
    while time.thread_time() < end or len(next(iter(times.values()))) < 5:
        for name, call in calls.items():
            start = time.thread_time()
            call()
            times[name].append(time.thread_time() - start)
    return {name: float(np.median(found[1:])) * 1e6 for name, found in times.items()}


def main() -> None:
    """Prints the table."""
    print(version())
    print(f"{'layer':24} {'portable':>10} {'quaternion':>11} {'16x8':>10} {'16x8 / portable':>16}")
    for layer in LAYERS:
        found = measure(layer)
        four = f"{found['quaternion']:11.0f}" if "quaternion" in found else f"{'':11}"
        ratio = found["16x8"] / found["portable"]
        print(f"{layer.name:24} {found['portable']:10.0f} {four} {found['16x8']:10.0f} {ratio:16.2f}", flush=True)


if __name__ == "__main__":
    main()
