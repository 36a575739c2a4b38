"""GRU and LSTM, 784 steps, batch 1, one thread: ours against onnxruntime's float operator, and what others quantize.

All contenders have the same weights, those that torch draws, and give the last state. Beside them in the same run: PyTorch's
``quantize_dynamic`` (int8 weights, activations quantized at every step) and onnxruntime's dynamically quantized LSTM.
"""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.loops import CALLS, STEPS, Contender, medians, one_thread_session
from qdeploy.calibration import calibrate
from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import IntegerModel, Recipe, quantize

FLOAT = "float operator"
TORCH_DYNAMIC = "torch dynamic"
ORT_DYNAMIC = "onnxruntime dynamic"
GATES = {"GRU": 3, "LSTM": 4}
# ONNX's order of the gates in torch's.
ORDER = {"GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}


@dataclasses.dataclass(frozen=True)
class _Call:
    """A function of no arguments, timed as a contender."""

    call: Callable[[], Any]

    def microseconds(self) -> float:
        return Contender.timed(self.call)


def measure_gated(kind: str, hidden: int, recipes: Mapping[str, Recipe]) -> dict[str, float]:
    """Median microseconds a step of every contender, by its name.

    Args:
        kind: ``GRU`` or ``LSTM``.
        hidden: H.
        recipes: of our integer layers, by name.
    """
    layer, operator, x = drawn_layer(kind, hidden)
    real = x.astype(np.float32) / 256
    contenders: dict[str, Contender | _Call] = {
        FLOAT: Contender(one_thread_session(operator), {"x": real.transpose(1, 0, 2)}),
        TORCH_DYNAMIC: _torch_dynamic(layer, real),
    }
    if kind == "LSTM":
        contenders[ORT_DYNAMIC] = Contender(one_thread_session(_dynamic(operator)), {"x": real.transpose(1, 0, 2)})
    for name, recipe in recipes.items():
        contenders[name] = integer_layer(layer, recipe, x)
    return medians(contenders, CALLS if hidden < 400 else CALLS // 2)


def drawn_layer(kind: str, hidden: int) -> tuple[Any, onnx.ModelProto, np.ndarray]:
    """A layer of torch, the same as an operator of ONNX (time first), and one sample for it: uint8 ``[1, STEPS, 1]``.

    Args:
        kind: ``GRU`` or ``LSTM``.
        hidden: H.
    """
    import torch

    torch.manual_seed(hidden)
    layer = getattr(torch.nn, kind)(1, hidden, batch_first=True).eval()
    return layer, _float_model(kind, layer), np.random.default_rng(2).integers(0, 256, (1, STEPS, 1)).astype(np.uint8)


def integer_layer(layer: Any, recipe: Recipe, x: np.ndarray) -> Contender:
    """Our integers of the last hidden state of a layer of torch's interface, batch first."""
    integers, feeds = quantized_layer(layer, recipe, x)
    return Contender(one_thread_session(attach_bodies(integers.model)), feeds)


def quantized_layer(layer: Any, recipe: Recipe, x: np.ndarray) -> tuple[IntegerModel, dict[str, np.ndarray]]:
    """The quantized layer, and the feeds of one call: ``x`` and the zero states."""
    import torch

    from qdeploy.capture import capture

    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, inputs: Any) -> Any:
            last = self.layer(inputs)[1]
            return last[0] if isinstance(last, tuple) else last

    samples = np.random.default_rng(1).integers(0, 256, (4, STEPS, 1)).astype(np.float32) / 256
    captured = capture(Last().eval(), {"x": samples})
    feeds = captured.arrange({"x": samples})
    statistics = calibrate(captured.model, feeds, {spec.name: spec.batch_axis for spec in captured.inputs})
    integers = quantize(captured.model, statistics, recipe)
    states = {
        state.input: np.full((1, state.size), state.type.zero_point, state.type.dtype)
        for state in integers.graph.states
    }
    return integers, {integers.inputs[0]: x, **states}


def _float_model(kind: str, layer: Any) -> onnx.ModelProto:
    """The ONNX operator with the layer's weights, in ONNX's order of gates."""

    def ordered(values: Any) -> np.ndarray:
        parts = np.split(values.detach().numpy(), GATES[kind])
        return np.concatenate([parts[place] for place in ORDER[kind]])

    tensors = {
        "w": ordered(layer.weight_ih_l0)[None],
        "r": ordered(layer.weight_hh_l0)[None],
        "b": np.concatenate([ordered(layer.bias_ih_l0), ordered(layer.bias_hh_l0)])[None],
    }
    attributes = {"linear_before_reset": 1} if kind == "GRU" else {}
    node = onnx.helper.make_node(
        kind, ["x", *tensors], ["", "last"], hidden_size=layer.hidden_size, name="layer", **attributes
    )
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "float",
        [value("x", onnx.TensorProto.FLOAT, [STEPS, 1, 1])],
        [value("last", onnx.TensorProto.FLOAT, [1, 1, layer.hidden_size])],
        [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


def _dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxruntime's own dynamic quantization of the model's weights."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "dynamic.onnx"
        onnx.save(model, source)
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, op_types_to_quantize=["LSTM"])
        found = onnx.load(target)
    if not any(node.op_type == "DynamicQuantizeLSTM" for node in found.graph.node):
        message = "onnxruntime's quantize_dynamic left the LSTM in float"
        raise RuntimeError(message)
    return found


def _torch_dynamic(layer: Any, x: np.ndarray) -> _Call:
    """PyTorch's dynamic quantization of the layer's weights, on one thread."""
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        # torch.ao.quantization is deprecated in favour of a package that has no recurrent layers.
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(layer), {type(layer)}, dtype=torch.qint8)
    inputs = torch.from_numpy(x)

    def call() -> None:
        with torch.no_grad():
            quantized(inputs)

    return _Call(call)
