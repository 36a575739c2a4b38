"""Recurrent loops, 784 steps, batch 1, one thread: ours against onnxruntime's float RNN operator with ReLU.

Both give the last state, as a classifier reads it. Calls of all contenders alternate, so that the machine's drift meets
them alike; the ratio is of medians.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration import calibrate
from qdeploy.capture.functions import rnn as float_rnn
from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import IntegerModel, Recipe, quantize

STEPS = 784
CALLS = 40
FLOAT = "float RNN operator"


@dataclasses.dataclass(frozen=True)
class Contender:
    """A session with the feeds of one call."""

    session: Any
    feeds: Mapping[str, NDArray[Any]]

    def microseconds(self) -> float:
        """One call, per step."""
        feeds = dict(self.feeds)
        return self.timed(lambda: self.session.run(None, feeds))

    @staticmethod
    def timed(call: Callable[[], Any]) -> float:
        """Microseconds a step: processor time of this thread, in which another process's turn does not count."""
        start = time.thread_time()
        call()
        return (time.thread_time() - start) / STEPS * 1e6


class Timed(Protocol):
    """Whatever can be called in turns with others."""

    def microseconds(self) -> float:
        """One call, per step."""


def medians(contenders: Mapping[str, Timed], calls: int) -> dict[str, float]:
    """Median microseconds a step of ``calls`` calls in turns, after three that do not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in range(calls + 3):
        for name, contender in contenders.items():
            value = contender.microseconds()
            if call >= 3:
                times[name].append(value)
    return {name: float(np.median(values)) for name, values in times.items()}


def measure(hidden: int, recipes: Mapping[str, tuple[Recipe, bool]]) -> dict[str, float]:
    """Median microseconds a step of the float operator and of one integer loop per recipe.

    Args:
        hidden: H.
        recipes: by name: the recipe, and whether the weights lie on a trained 4-bit grid.
    """
    contenders = {FLOAT: float_operator(hidden)}
    contenders.update({name: _integer_loop(hidden, recipe, on_grid=grid) for name, (recipe, grid) in recipes.items()})
    return medians(contenders, CALLS)


def drawn_weights(hidden: int, *, on_grid: bool) -> dict[str, NDArray[np.float32]]:
    """An orthogonal W, a small U; on the grid of q_4 where asked (rounded: nearly orthogonal)."""
    generator = np.random.default_rng(hidden)
    weight = np.linalg.qr(generator.standard_normal((hidden, hidden)))[0]
    driven = generator.uniform(-0.3, 0.3, (hidden, 1))
    if on_grid:
        weight, driven = (
            np.clip(np.rint(w * 8 / np.abs(w).max()), -8, 7) * np.abs(w).max() / 8 for w in (weight, driven)
        )
    return {
        "input_weight": driven.astype(np.float32),
        "recurrent_weight": weight.astype(np.float32),
        "bias": generator.uniform(-0.05, 0.05, hidden).astype(np.float32),
    }


def _integer_loop(hidden: int, recipe: Recipe, *, on_grid: bool) -> Contender:
    integers, feeds = integer_loop(hidden, recipe, on_grid=on_grid)
    return Contender(one_thread_session(attach_bodies(integers.model)), feeds)


def integer_loop(hidden: int, recipe: Recipe, *, on_grid: bool) -> tuple[IntegerModel, dict[str, NDArray[Any]]]:
    """The quantized loop, and the feeds of one call: ``x`` uint8 [STEPS, 1, 1] and the zero state.

    Args:
        hidden: H.
        recipe: of the quantization.
        on_grid: whether the weights lie on a trained 4-bit grid.
    """
    weights = drawn_weights(hidden, on_grid=on_grid)
    node = onnx.helper.make_node(
        "RNN", ["x", *weights], ["", "last"], name="loop", domain="qdeploy.float", overload="relu", activation="relu"
    )
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "loop",
        [value("x", onnx.TensorProto.FLOAT, ["time", "batch", 1])],
        [value("last", onnx.TensorProto.FLOAT, ["batch", hidden])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy.float", 1)]
    model = onnx.helper.make_model(
        graph, opset_imports=opsets, functions=[float_rnn("relu", has_h0=False)], ir_version=10
    )
    samples = np.random.default_rng(1).integers(0, 256, (STEPS, 4, 1)).astype(np.float32) / 256
    integers = quantize(model, calibrate(model, {"x": samples}, {"x": 1}), recipe)
    state = integers.graph.states[0]
    feeds = {
        "x": np.random.default_rng(2).integers(0, 256, (STEPS, 1, 1)).astype(np.uint8),
        state.input: np.full((1, hidden), state.type.zero_point, state.type.dtype),
    }
    return integers, feeds


def float_operator(hidden: int) -> Contender:
    """onnxruntime's RNN operator with ReLU, of the same size."""
    weights = drawn_weights(hidden, on_grid=False)
    tensors = {
        "w": weights["input_weight"][None],
        "r": weights["recurrent_weight"][None],
        "b": np.concatenate([weights["bias"], np.zeros(hidden, np.float32)])[None],
    }
    node = onnx.helper.make_node(
        "RNN", ["x", "w", "r", "b", "", "h0"], ["", "last"], hidden_size=hidden, activations=["Relu"]
    )
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "float",
        [
            value("x", onnx.TensorProto.FLOAT, ["time", "batch", 1]),
            value("h0", onnx.TensorProto.FLOAT, [1, "batch", hidden]),
        ],
        [value("last", onnx.TensorProto.FLOAT, [1, "batch", hidden])],
        [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    feeds = {
        "x": np.random.default_rng(2).uniform(0, 1, (STEPS, 1, 1)).astype(np.float32),
        "h0": np.zeros((1, 1, hidden), np.float32),
    }
    return Contender(one_thread_session(model), feeds)


def one_thread_session(model: onnx.ModelProto) -> Any:
    """A session of onnxruntime on one thread."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
