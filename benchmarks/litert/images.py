"""Shipped image classifiers in LiteRT, batch 1, one thread: ours, LiteRT's own float operators, and onnxruntime, in turns.

LiteRT's times are those of the runtime alone. Integers of LiteRT and onnxruntime are compared bit for bit, floats about, on
the first test images (made ones where the data are not here); accuracies are then onnxruntime's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.litert.float_images import float_file, images_last
from benchmarks.litert.interpreted import Interpreted, checked, same_floats
from benchmarks.loops import one_thread_session
from benchmarks.quaternion_linear import medians
from benchmarks.shipped import ShippedNetwork, accuracy
from qdeploy.expanded_float import expanded_float
from qdeploy.exporter import finish
from qdeploy.quantize import load_recipe

__all__ = ["FLOAT", "ONNX", "ONNX_FLOAT", "PORTABLE", "MeasuredImages", "measure_images"]

FLOAT = "LiteRT's float network"
PORTABLE, ONNX = "portable", "onnx"
ONNX_FLOAT = "onnxruntime's float network"
COMPARED_IMAGES = 16


@dataclass(frozen=True)
class MeasuredImages:
    """One network.

    Attributes:
        microseconds: a sample, by contender.
        bytes: of each contender's file.
        accuracy: of each contender, 0 to 1; empty where the data are not here.
        images: what the accuracy is of, or why there is none.
    """

    microseconds: Mapping[str, float]
    bytes: Mapping[str, int]
    accuracy: Mapping[str, float]
    images: str


def measure_images(network: str, shape: tuple[int, ...]) -> MeasuredImages:
    """Median microseconds a sample of every form of a shipped network.

    Args:
        network: the checkpoint's name.
        shape: of one sample.

    Raises:
        RuntimeError: LiteRT gives other bits than onnxruntime, or another float network.
    """
    shipped = ShippedNetwork.named(network, shape)
    floats, integers = expanded_float(shipped.model), shipped.quantized(load_recipe("default"))
    models = {ONNX_FLOAT: floats, ONNX: finish(integers)}
    sessions = {name: one_thread_session(model) for name, model in models.items()}
    made = np.random.default_rng(1).integers(0, 256, (COMPARED_IMAGES, *shape)).astype(np.float32) / 256
    test = shipped.test_images()
    real, name = (made if test is None else test[0]), shipped.input
    given = shipped.given(integers, real)
    single = {name: given[:1]}
    ours = checked(integers, single, time_axis=None, batch_axis=0)
    theirs = Interpreted(float_file(floats, shape), {"x": images_last(real[:1])})
    for place in range(COMPARED_IMAGES):
        one = slice(place, place + 1)
        (expected,), (found,) = sessions[ONNX].run(None, {name: given[one]}), ours.results({name: given[one]}).values()
        if (found != expected).any():
            message = f"{network}: LiteRT and onnxruntime differ on image {place}"
            raise RuntimeError(message)
        (found,) = theirs.results({"x": images_last(real[one])}).values()
        same_floats(found, sessions[ONNX_FLOAT].run(None, {name: real[one]})[0])
    calls: dict[str, Callable[[], Any]] = {
        FLOAT: theirs.invocation(),
        PORTABLE: ours.invocation(),
        ONNX: partial(sessions[ONNX].run, None, single),
        ONNX_FLOAT: partial(sessions[ONNX_FLOAT].run, None, {name: real[:1]}),
    }
    sizes = {ours_name: len(model.SerializeToString()) for ours_name, model in models.items()}
    sizes |= {PORTABLE: len(ours.content), FLOAT: len(theirs.content)}
    judged = {}
    if test is not None:
        for ours_name, x in ((ONNX, given), (ONNX_FLOAT, real)):
            judged[ours_name] = _accuracy(sessions[ours_name], name, x, test[1])
        judged |= {PORTABLE: judged[ONNX], FLOAT: judged[ONNX_FLOAT]}
    return MeasuredImages(medians(calls), sizes, judged, shipped.images(None if test is None else len(test[1])))


def _accuracy(session: Any, name: str, x: NDArray[Any], labels: NDArray[Any]) -> float:
    return accuracy(lambda part: session.run(None, {name: part})[0], x, labels)
