"""Image classifiers through export, one thread: ours against onnxruntime's float model of the expanded network.

Beside them in the same run: the expanded network by onnxruntime's ``quantize_static`` (int8 with a scale a channel, QDQ),
which is neither integer-only nor the same bits on two processors, and our NumPy reference. Weights are those that torch draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.loops import one_thread_session
from benchmarks.quaternion_linear import medians
from qdeploy.calibration import calibrate
from qdeploy.expanded_float import expanded_float
from qdeploy.exporter import finish
from qdeploy.quantize import load_recipe, quantize
from qdeploy.runtime.numeric import quantize_input
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.static_quantization import quantized_statically

FLOAT, STATIC, REFERENCE = "float", "quantize_static", "numpy"
RECIPES = ("default", "w7a8")


@dataclass(frozen=True)
class Measured:
    """One network.

    Attributes:
        microseconds: a sample, by contender and batch.
        bytes: of each contender's file.
    """

    microseconds: Mapping[int, Mapping[str, float]]
    bytes: Mapping[str, int]


def measure(network: Any, shape: tuple[int, ...], batches: tuple[int, ...] = (1, 64)) -> Measured:
    """Median microseconds a sample of ``network``, a torch module for inputs ``[batch, *shape]``."""
    from qdeploy.capture import capture

    samples = np.random.default_rng(1).integers(0, 256, (32, *shape)).astype(np.float32) / 256
    captured = capture(network.eval(), {"x": samples})
    feeds = captured.arrange({"x": samples})
    axes = {spec.name: spec.batch_axis for spec in captured.inputs}
    statistics = calibrate(captured.model, feeds, axes)
    floats = {FLOAT: expanded_float(captured.model), STATIC: quantized_statically(captured.model, feeds, axes)}
    integers = {name: quantize(captured.model, statistics, load_recipe(name)) for name in RECIPES}
    files = floats | {name: finish(found) for name, found in integers.items()}
    sessions = {name: one_thread_session(model) for name, model in files.items()}
    reference = ReferenceModel(integers[RECIPES[0]].model)
    (name,) = (spec.name for spec in captured.inputs)
    times = {}
    for batch in batches:
        real = np.random.default_rng(batch).integers(0, 256, (batch, *shape)).astype(np.float32) / 256
        given: dict[str, NDArray[Any]] = dict.fromkeys(floats, real)
        for recipe, found in integers.items():
            kind = found.graph.types[name]
            given[recipe] = quantize_input(real, kind.scale, kind.zero_point, np.dtype(kind.dtype))
        calls: dict[str, Callable[[], Any]] = {
            contender: lambda s=session, x=given[contender]: s.run(None, {name: x})  # type: ignore[misc]
            for contender, session in sessions.items()
        }
        if batch == 1:
            calls[REFERENCE] = lambda x=given[RECIPES[0]]: reference.run({name: x})  # type: ignore[misc]
        times[batch] = {contender: value / batch for contender, value in medians(calls).items()}
    return Measured(times, {contender: _size(model) for contender, model in files.items()})


def _size(model: onnx.ModelProto) -> int:
    return len(model.SerializeToString())
