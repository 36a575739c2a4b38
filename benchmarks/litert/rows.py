"""The report's rows of LiteRT."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping

from benchmarks.litert import built_in, images, loops
from benchmarks.rows import Row, absent, compared, percentages
from qdeploy.runtime.engines import litert
from qdeploy.runtime.errors import MissingRequirementError

__all__ = ["litert_rows"]

HIDDEN = 170
BUILT_IN_SIZES = (64, 170)
NETWORKS = {
    "quaternion-lenet": ("quaternion-lenet300-mnist", (784,)),
    "conv2": ("quaternion-conv2-cifar10", (4, 32, 32)),
    "conv2-real": ("real4-conv2-cifar10", (4, 32, 32)),
}
_SAMPLE = "µs a sample"
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
    for hidden in BUILT_IN_SIZES:
        rows += _built_in_rows(f"litert-lstm-operator-h{hidden}", *built_in.measure_built_in(hidden))
    for name, (checkpoint, shape) in NETWORKS.items():
        rows += _image_rows(f"litert-{name}", images.measure_images(checkpoint, shape))
    return rows


def _loop_rows(name: str, found: loops.MeasuredLoop, wide: str, goal: float | None) -> list[Row]:
    """Ours against LiteRT's float loop, onnxruntime and a literal translation; wide states against the float loop alone."""
    times, ours = found.microseconds, loops.PORTABLE
    first = compared(name, times[ours], times[loops.FLOAT], loops.FLOAT, goal)
    rows = [
        dataclasses.replace(first, ours_bytes=found.bytes[ours], other_bytes=found.bytes[loops.FLOAT]),
        compared(f"{name}-{wide}", times[wide], times[loops.FLOAT], loops.FLOAT, None),
    ]
    if loops.BUILTIN in found.absent:
        rows.append(absent(f"{name}-builtin", found.absent[loops.BUILTIN], loops.FLOAT))
    else:
        rows.append(compared(f"{name}-builtin", times[loops.BUILTIN], times[loops.FLOAT], loops.FLOAT, None))
    operators = found.operators
    return [
        *rows,
        compared(f"{name}-onnx", times[ours], times[loops.ONNX], "the same integers in onnxruntime", None),
        compared(f"{name}-onnx-float", times[ours], times[loops.ONNX_FLOAT], loops.ONNX_FLOAT, None),
        compared(f"{name}-naive", times[ours], times[loops.NAIVE], loops.NAIVE, 1.0),
        compared(
            f"{name}-naive-operators",
            operators[ours],
            operators[loops.NAIVE],
            loops.NAIVE,
            1.0,
            unit="operators a step",
        ),
    ]


def _built_in_rows(name: str, times: Mapping[str, float], sizes: Mapping[str, int]) -> list[Row]:
    """LiteRT's integer LSTM against our portable loops and against its float operator."""
    ours = built_in.BUILT_IN
    against = {
        "": (built_in.PORTABLE, "our portable loop in LiteRT, states of 8 bits"),
        "-s12": (built_in.WIDE, "our portable loop in LiteRT, the default recipe"),
        "-float": (built_in.FLOAT_OPERATOR, built_in.FLOAT_OPERATOR),
    }
    return [
        dataclasses.replace(
            compared(f"{name}{suffix}", times[ours], times[other], words, None),
            ours_bytes=sizes[ours],
            other_bytes=sizes[other],
        )
        for suffix, (other, words) in against.items()
    ]


def _image_rows(name: str, found: images.MeasuredImages) -> list[Row]:
    percent = percentages(found.accuracy)
    return [
        dataclasses.replace(
            compared(f"{name}{suffix}", found.microseconds[ours], found.microseconds[other], words, None, unit=_SAMPLE),
            ours_bytes=found.bytes[ours],
            other_bytes=found.bytes[other],
            ours_accuracy=percent.get(ours),
            other_accuracy=percent.get(other),
            images=found.images,
        )
        for suffix, ours, other, words in (
            ("", images.PORTABLE, images.FLOAT, images.FLOAT),
            ("-builtin", images.BUILTIN, images.FLOAT, images.FLOAT),
            ("-onnx", images.PORTABLE, images.ONNX, "the same integers in onnxruntime"),
            ("-onnx-float", images.PORTABLE, images.ONNX_FLOAT, images.ONNX_FLOAT),
        )
    ]
