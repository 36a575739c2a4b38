"""Shipped image classifiers through export, one thread: ours against onnxruntime's float model of the expanded network.

Beside them in the same run: the expanded network by onnxruntime's ``quantize_static`` (int8 with a scale a channel, QDQ),
which is neither integer-only nor the same bits on two processors, and our NumPy reference. Each contender's file size and,
where the network's test images are on this machine, its accuracy on the first of them stand beside its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.loops import one_thread_session
from benchmarks.quaternion_linear import medians
from qdeploy.calibration import calibrate
from qdeploy.capture.checkpoint_source import checkpoint_dataset
from qdeploy.evaluation import load_samples
from qdeploy.expanded_float import expanded_float
from qdeploy.exporter import CALIBRATION_SAMPLES, finish
from qdeploy.listing import missing_dataset
from qdeploy.quantize import load_recipe, quantize
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.numeric import quantize_input
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.static_quantization import quantized_statically

FLOAT, STATIC, REFERENCE, DEFAULT = "float", "quantize_static", "numpy", "default"
QLINEAR = "qlinear"
RECIPES = {
    DEFAULT: load_recipe("default"),
    "w7a8": load_recipe("w7a8"),
    QLINEAR: load_recipe("w7a8").changed(conv_kernels="qlinear"),
}
"""Ours. ``qlinear`` is w7a8 with convolutions that are not integer-only."""

TEST_IMAGES = 2000
"""A network's accuracy is that of so many test images: 1 point is 20 of them; five contenders judge them in 5 to 10 seconds."""

IMAGES_AT_A_TIME = 50


@dataclass(frozen=True)
class Measured:
    """One network.

    Attributes:
        microseconds: a sample, by contender and batch.
        bytes: of each contender's file.
        accuracy: of each contender, 0 to 1; empty where the data are not here.
        images: what the accuracy is of, or why there is none.
    """

    microseconds: Mapping[int, Mapping[str, float]]
    bytes: Mapping[str, int]
    accuracy: Mapping[str, float]
    images: str


def measure(network: str, shape: tuple[int, ...], batches: tuple[int, ...] = (1, 64)) -> Measured:
    """Median microseconds a sample, file size and accuracy of every form of a shipped network.

    Args:
        network: the checkpoint's name. It is calibrated on the data that it was trained on, where they are here, else on
            made samples: times and sizes do not depend on it.
        shape: of one sample.
        batches: to be timed.
    """
    from qdeploy.capture import capture

    data = checkpoint_dataset(network)
    if data is None:
        message = f"{network} names no data set"
        raise InvalidInputError(message)
    missing = missing_dataset(data)
    made = np.random.default_rng(1).integers(0, 256, (32, *shape)).astype(np.float32) / 256
    samples = {"x": made} if missing else load_samples(data, "train", CALIBRATION_SAMPLES).inputs
    captured = capture(network, samples)
    feeds = captured.arrange(samples)
    axes = {spec.name: spec.batch_axis for spec in captured.inputs}
    statistics = calibrate(captured.model, feeds, axes)
    floats = {FLOAT: expanded_float(captured.model), STATIC: quantized_statically(captured.model, feeds, axes)}
    convolutional = any(node.op_type == "Conv" for node in captured.model.graph.node)
    integers = {
        name: quantize(captured.model, statistics, recipe)
        for name, recipe in RECIPES.items()
        if convolutional or name != QLINEAR
    }
    files = floats | {name: finish(found) for name, found in integers.items()}
    sessions = {name: one_thread_session(model) for name, model in files.items()}
    reference = ReferenceModel(integers[DEFAULT].model)
    (name,) = (spec.name for spec in captured.inputs)

    def given(contender: str, real: NDArray[np.float32]) -> NDArray[Any]:
        if contender not in integers:
            return real
        kind = integers[contender].graph.types[name]
        return quantize_input(real, kind.scale, kind.zero_point, np.dtype(kind.dtype))

    times = {}
    for batch in batches:
        real = np.random.default_rng(batch).integers(0, 256, (batch, *shape)).astype(np.float32) / 256
        calls: dict[str, Callable[[], Any]] = {
            contender: partial(session.run, None, {name: given(contender, real)})
            for contender, session in sessions.items()
        }
        if batch == 1:
            calls[REFERENCE] = partial(reference.run, {name: given(DEFAULT, real)})
        times[batch] = {contender: value / batch for contender, value in medians(calls).items()}
    accuracy, images = {}, f"{data} is not on this machine"
    if not missing:
        test = load_samples(data, "test", TEST_IMAGES)
        (real,), labels = test.inputs.values(), np.asarray(test.labels)
        accuracy = {
            contender: _accuracy(session, name, given(contender, real.astype(np.float32)), labels)
            for contender, session in sessions.items()
        }
        images = f"the first {len(labels):,} test images of {data}"
    return Measured(times, {contender: _size(model) for contender, model in files.items()}, accuracy, images)


def _accuracy(session: Any, name: str, x: NDArray[Any], labels: NDArray[Any]) -> float:
    """The part of samples whose largest output stands where the label says; equal ones count for the first."""
    parts = [
        session.run(None, {name: x[start : start + IMAGES_AT_A_TIME]})[0]
        for start in range(0, len(x), IMAGES_AT_A_TIME)
    ]
    return float((np.concatenate(parts).argmax(axis=-1) == labels).mean())


def _size(model: onnx.ModelProto) -> int:
    return len(model.SerializeToString())
