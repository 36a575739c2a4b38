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
import onnx
from numpy.typing import NDArray

from benchmarks.litert.float_images import float_file, images_last
from benchmarks.litert.interpreted import Interpreted, checked, integer_file, same_floats
from benchmarks.loops import one_thread_session
from benchmarks.quaternion_linear import medians
from benchmarks.shipped import ShippedNetwork, accuracy
from qdeploy.expanded_float import expanded_float
from qdeploy.exporter import finish
from qdeploy.quantize import load_recipe

__all__ = ["BUILTIN", "FLOAT", "ONNX", "ONNX_FLOAT", "PORTABLE", "MeasuredImages", "measure_images"]

FLOAT = "LiteRT's float network"
PORTABLE, BUILTIN, ONNX = "portable", "builtin", "onnx"
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
    name, test, default = shipped.input, shipped.test_images(), load_recipe("default")
    made = np.random.default_rng(1).integers(0, 256, (COMPARED_IMAGES, *shape)).astype(np.float32) / 256
    real = made if test is None else test[0]
    floats = expanded_float(shipped.model)
    operator = one_thread_session(floats)
    theirs = Interpreted(float_file(floats, shape), {"x": images_last(real[:1])})
    for place in range(COMPARED_IMAGES):
        one = real[place : place + 1]
        same_floats(theirs.results({"x": images_last(one)})["y"], operator.run(None, {name: one})[0])
    calls: dict[str, Callable[[], Any]] = {
        FLOAT: theirs.invocation(),
        ONNX_FLOAT: partial(operator.run, None, {name: real[:1]}),
    }
    sizes = {FLOAT: len(theirs.content), ONNX_FLOAT: _size(floats)}
    judges: dict[str, tuple[Any, NDArray[Any]]] = {FLOAT: (operator, real), ONNX_FLOAT: (operator, real)}
    for contender, kernels in ((PORTABLE, "portable"), (BUILTIN, "builtin")):
        integers = shipped.quantized(default.changed(tflite_kernels=kernels))
        complete, given = finish(integers), shipped.given(integers, real)
        session = one_thread_session(complete)
        ours = checked(integers, {name: given[:1]}, integer_file(integers, None, 0))
        for place in range(COMPARED_IMAGES):
            one = {name: given[place : place + 1]}
            if (next(iter(ours.results(one).values())) != session.run(None, one)[0]).any():
                message = f"{network}, {contender}: LiteRT and onnxruntime differ on image {place}"
                raise RuntimeError(message)
        calls[contender], sizes[contender], judges[contender] = ours.invocation(), len(ours.content), (session, given)
        if contender == PORTABLE:
            calls[ONNX], sizes[ONNX] = partial(session.run, None, {name: given[:1]}), _size(complete)
            judges[ONNX] = judges[contender]
    judged = {}
    if test is not None:
        judged = {contender: _accuracy(session, name, x, test[1]) for contender, (session, x) in judges.items()}
    return MeasuredImages(medians(calls), sizes, judged, shipped.images(None if test is None else len(test[1])))


def _size(model: onnx.ModelProto) -> int:
    return len(model.SerializeToString())


def _accuracy(session: Any, name: str, x: NDArray[Any], labels: NDArray[Any]) -> float:
    return accuracy(lambda part: session.run(None, {name: part})[0], x, labels)
