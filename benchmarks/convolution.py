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
from benchmarks.shipped import ShippedNetwork, accuracy
from qdeploy.expanded_float import expanded_float
from qdeploy.exporter import finish
from qdeploy.quantize import load_recipe
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
    shipped = ShippedNetwork.named(network, shape)
    statically = quantized_statically(shipped.model, shipped.feeds, shipped.batch_axes)
    floats = {FLOAT: expanded_float(shipped.model), STATIC: statically}
    integers = {
        name: shipped.quantized(recipe) for name, recipe in RECIPES.items() if shipped.convolutional or name != QLINEAR
    }
    files = floats | {name: finish(found) for name, found in integers.items()}
    sessions = {name: one_thread_session(model) for name, model in files.items()}
    reference = ReferenceModel(integers[DEFAULT].model)
    name = shipped.input

    def given(contender: str, real: NDArray[np.float32]) -> NDArray[Any]:
        return shipped.given(integers[contender], real) if contender in integers else real

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
    judged, test = {}, shipped.test_images()
    if test is not None:
        real, labels = test
        judged = {
            contender: accuracy(lambda x, s=session: s.run(None, {name: x})[0], given(contender, real), labels)  # type: ignore[misc]
            for contender, session in sessions.items()
        }
    images = shipped.images(None if test is None else len(test[1]))
    return Measured(times, {contender: _size(model) for contender, model in files.items()}, judged, images)


def _size(model: onnx.ModelProto) -> int:
    return len(model.SerializeToString())
