"""The report's rows of LiteRT."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping

from benchmarks.litert import images, loops
from benchmarks.rows import Row, compared, percentages
from qdeploy.runtime.engines import litert
from qdeploy.runtime.errors import MissingRequirementError

__all__ = ["litert_rows"]

HIDDEN = 170
NETWORKS = {
    "quaternion-lenet": ("quaternion-lenet300-mnist", (784,)),
    "conv2": ("quaternion-conv2-cifar10", (4, 32, 32)),
    "conv2-real": ("real4-conv2-cifar10", (4, 32, 32)),
}
GOAL = 3.5
"""Of a step of 170 units, in steps of LiteRT's own float operators."""


def litert_rows() -> list[Row]:
    """Our files in LiteRT. Without the package there are none; standard error says so."""
    try:
        litert.version()
    except MissingRequirementError as error:
        print(f"litert-…: left out, {error}", file=sys.stderr)
        return []
    rnn = loops.measure_rnn(HIDDEN)
    rows = _loop_rows(f"litert-loop-h{HIDDEN}", rnn, "s12-exact", GOAL)
    for kind, goal in (("GRU", GOAL), ("LSTM", None)):
        rows += _loop_rows(f"litert-{kind.lower()}-h{HIDDEN}", loops.measure_gated(kind, HIDDEN), "s12", goal)
    for name, (checkpoint, shape) in NETWORKS.items():
        rows += _image_rows(f"litert-{name}", images.measure_images(checkpoint, shape))
    return rows


def _loop_rows(name: str, found: loops.MeasuredLoop, wide: str, goal: float | None) -> list[Row]:
    """Ours against LiteRT's float loop and onnxruntime; the wide states against the float loop alone."""
    times, ours = found.microseconds, loops.PORTABLE
    rows = [
        compared(name, times[ours], times[loops.FLOAT], loops.FLOAT, goal),
        compared(f"{name}-{wide}", times[wide], times[loops.FLOAT], loops.FLOAT, None),
        compared(f"{name}-onnx", times[ours], times[loops.ONNX], "the same integers in onnxruntime", None),
        compared(f"{name}-onnx-float", times[ours], times[loops.ONNX_FLOAT], loops.ONNX_FLOAT, None),
    ]
    rows[0] = dataclasses.replace(rows[0], ours_bytes=found.bytes[ours], other_bytes=found.bytes[loops.FLOAT])
    return rows


def _image_rows(name: str, found: images.MeasuredImages) -> list[Row]:
    times, ours = found.microseconds, images.PORTABLE
    against: Mapping[str, tuple[str, str]] = {
        "": (images.FLOAT, images.FLOAT),
        "-onnx": (images.ONNX, "the same integers in onnxruntime"),
        "-onnx-float": (images.ONNX_FLOAT, images.ONNX_FLOAT),
    }
    percent = percentages(found.accuracy)
    return [
        dataclasses.replace(
            compared(f"{name}{suffix}", times[ours], times[other], words, None, unit="µs a sample"),
            ours_bytes=found.bytes[ours],
            other_bytes=found.bytes[other],
            ours_accuracy=percent.get(ours),
            other_accuracy=percent.get(other),
            images=found.images,
        )
        for suffix, (other, words) in against.items()
    ]
