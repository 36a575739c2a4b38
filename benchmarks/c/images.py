"""Shipped image classifiers as compiled C, batch 1, one thread, beside onnxruntime's float model of the expanded network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.c.generated import GeneratedC
from benchmarks.convolution import FLOAT
from benchmarks.loops import one_thread_session
from benchmarks.quaternion_linear import medians
from qdeploy.calibration import calibrate
from qdeploy.expanded_float import expanded_float
from qdeploy.exporter import finish
from qdeploy.quantize import load_recipe, quantize
from qdeploy.runtime.numeric import quantize_input

__all__ = ["ONNX", "C", "MeasuredNetwork", "measure_network"]

C, ONNX = "c", "onnx"


@dataclass(frozen=True)
class MeasuredNetwork:
    """Median microseconds a sample by contender, and the bytes that the library's constants and its state take."""

    microseconds: dict[str, float]
    state_bytes: int


def measure_network(network: str, shape: tuple[int, ...]) -> MeasuredNetwork:
    """C, the same integers in onnxruntime, and onnxruntime's float model.

    Calibrated on made samples: times do not depend on them. Raises RuntimeError where C and onnxruntime give other bits.

    Args:
        network: a shipped checkpoint's name.
        shape: of one sample.
    """
    from qdeploy.capture import capture

    samples = {"x": np.random.default_rng(1).integers(0, 256, (32, *shape)).astype(np.float32) / 256}
    captured = capture(network, samples)
    feeds = captured.arrange(samples)
    axes = {spec.name: spec.batch_axis for spec in captured.inputs}
    integers = quantize(captured.model, calibrate(captured.model, feeds, axes), load_recipe("default"))
    (name,) = (spec.name for spec in captured.inputs)
    kind = integers.graph.types[name]
    real = np.random.default_rng(2).integers(0, 256, (1, *shape)).astype(np.float32) / 256
    quantized = quantize_input(real, kind.scale, kind.zero_point, np.dtype(kind.dtype))
    generated = GeneratedC(integers, {name: quantized}, time_axis=None, batch_axis=0)
    calls: dict[str, Callable[[], Any]] = {
        FLOAT: partial(one_thread_session(expanded_float(captured.model)).run, None, {name: real}),
        ONNX: partial(one_thread_session(finish(integers)).run, None, {name: quantized}),
        C: generated.call,
    }
    return MeasuredNetwork(medians(calls), generated.state_bytes)
